"""Small CSV files with the traps of public bug reports, always the same."""

import random
from pathlib import Path


def write_small_files(folder: Path) -> None:
    """Write them: targets with an offset, columns and labels that a reader may change."""
    r = random.Random(0)
    points = [(r.gauss(0, 1), r.gauss(0, 1)) for _ in range(120)]

    def write(name, header, line, rows=points):
        lines = [header, *(line(i, a, b) for i, (a, b) in enumerate(rows))]
        (folder / name).write_text("\n".join(lines) + "\n")

    def c(a, b):
        return a + b > 0

    def text(a, b):
        return "true" if c(a, b) else "false"

    write("stamp.csv", "a,b,when", lambda i, a, b: f"{a:.3f},{b:.3f},{1.7e9 + 60 * a:.2f}")
    write("dup.csv", "a,label,label", lambda i, a, b: f"{a:.3f},{int(c(a, b))},{int(c(a, b))}")
    write("flag.csv", "a,b,label", lambda i, a, b: f"{a:.3f},{b:.3f},{'unknown' if i % 5 == 0 else text(a, b)}")
    write("flag_new.csv", "a,b,label", lambda i, a, b: f"{a:.3f},{b:.3f},{text(a, b)}", points[:9])
    write("code.csv", "a,b,label", lambda i, a, b: f"{a:.3f},{b:.3f},{'01234' if c(a, b) else '02345'}")
    write("q.tsv", "a\tb\tlabel", lambda i, a, b: f"{a:.3f}\t{b:.3f}\t" + ('"yes"' if c(a, b) else '"no"'))
    write("base.csv", "a,b,label", lambda i, a, b: f"{a:.3f},{b:.3f},{'yes' if c(a, b) else 'no'}")
    write("empty_target.csv", "a,b,label", lambda i, a, b: f"{a:.3f},{b:.3f},", points[:9])
    write("drop.csv", 'on,"price, USD",b,label', lambda i, a, b: f"t{i},x,{b:.3f},{int(c(a, b))}")
