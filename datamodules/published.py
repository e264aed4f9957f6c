"""Published tables that come with no package: each is a file below the data root, where a person has put it."""

from pathlib import Path
from typing import Any, ClassVar

from .base import Source
from .errors import InputError, require
from .table import Table, check_missing
from .tablefile import TableFile, read_file


class _Published(Table):
    """A table of known shape.

    Attributes:
        origin: Where it comes from, in words.
        shape: Its rows and features.
        n_rare: Rows of its second class; None for a regression.
    """

    origin: str
    shape: tuple[int, int]
    n_rare: int | None = None

    def load(self) -> Source:
        """Features (N, F).

        Raises:
            InputError: The file is not there, or is another.
        """
        file = self._file()
        require(
            file.is_file(),
            f"there is no {file}. The data root is $ZOO_DATA_DIR or --data.root; the file is {self.origin}, and is not "
            "downloaded.",
        )
        try:
            source = super().load()
        except InputError as error:
            raise InputError(f"{error} The file should be {self.origin}.") from None
        found = f"{source.x.shape[0]:,} rows of {source.x.shape[1]} features"
        n_rare = None if self.n_rare is None else int((source.y == 1).sum())
        if n_rare is not None:
            found += f", {n_rare} of class {self._names()[1]!r}"
        require(
            source.x.shape == self.shape and n_rare == self.n_rare,
            f"{file} is not the file expected: it holds {found}. It should be "
            f"{self.origin}; read another with --data csv.",
        )
        return source

    def _read(self) -> TableFile:
        return read_file(str(self._file()), None, self.sep, self.header)

    def _file(self) -> Path:
        return self.folder / self.path

    def _names(self) -> list[str]:
        return list((self.labels or {}).values())


class Mammography(_Published):
    """Mammography: 11,183 rows of 6 features, 2.32 % microcalcifications (Woods et al. 1993, OpenML 310).

    `tabular/mammography.csv` below the data root, without header, the last column '-1' or '1'. Of its rows 7,848
    differ; equal ones stay on one side of each split.
    """

    path = "tabular/mammography.csv"
    origin = "OpenML 310 as CSV (Woods et al. 1993), 11,183 rows of 6 features and a last column '-1' or '1', no header"
    shape, n_rare = (11183, 6), 260
    target, header = "6", False
    labels: ClassVar[dict[str, str]] = {"'-1'": "non-calcification", "'1'": "calcification"}


class PolishBankruptcy(_Published):
    """Polish companies: 7,027 rows of 64 financial ratios, 3.86 % bankrupt five years later (UCI 365, first year).

    `tabular/polish_bankruptcy_1year.arff` below the data root (Zięba et al. 2016). 5,835 values are missing. Where its
    denominator comes near zero a ratio lies dozens of standard deviations out, so that, standardised alone, the middle
    half of most ratios fits into a few hundredths of one, and nets learn little; hence the ranks.

    Args:
        missing: What fills in a missing ratio: `median` or `mean` of its column over the training split.
        ranks: Put the normal quantile of its rank among the training rows, by 100 quantiles, in each ratio's place, and
            standardise that; false standardises the ratios themselves.
    """

    path = "tabular/polish_bankruptcy_1year.arff"
    origin = "the first year of UCI 365 (1year.arff), 7,027 rows of 64 ratios"
    shape, n_rare = (7027, 64), 271
    target = "class"
    labels: ClassVar[dict[str, str]] = {"0": "operating", "1": "bankrupt"}

    def __init__(self, *, missing: str = "median", ranks: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_missing(missing)
        self.missing, self.ranks = missing, ranks


class CaliforniaHousing(_Published):
    """California housing: 20,640 rows of 8 features, a regression of house values (Pace & Barry 1997, StatLib).

    `tabular/california_housing.csv` below the data root.
    """

    path = "tabular/california_housing.csv"
    origin = "StatLib's houses (Pace & Barry 1997) as CSV with a header, 20,640 rows with median_house_value"
    shape = (20640, 8)
    target, task = "median_house_value", "regression"
