"""Published tables that no package provides: each is a file that you place below the data root."""

from pathlib import Path
from typing import Any, ClassVar

from .base import Source
from .errors import InputError, require
from .table import Table, check_missing
from .tablefile import TableFile, read_file


class _Published(Table):
    """A table whose shape is known and checked.

    Attributes:
        origin: Description of its source.
        shape: Number of rows and of features.
        n_rare: Number of rows of the second class; None for a regression.
    """

    origin: str
    shape: tuple[int, int]
    n_rare: int | None = None

    def load(self) -> Source:
        """Features (N, F).

        Raises:
            InputError: If the file is missing, or has other contents than expected.
        """
        file = self._file()
        require(
            file.is_file(),
            f"{file} does not exist and is not downloaded automatically. Put the file there ({self.origin}), or set "
            "ZOO_DATA_DIR or --data.root to the folder that contains tabular/.",
        )
        try:
            source = super().load()
        except InputError as error:
            raise InputError(f"{error} Expected {self.origin}.") from None
        found = f"{source.x.shape[0]:,} rows of {source.x.shape[1]} features"
        n_rare = None if self.n_rare is None else int((source.y == 1).sum())
        if n_rare is not None:
            found += f", {n_rare} of class {self._names()[1]!r}"
        require(
            source.x.shape == self.shape and n_rare == self.n_rare,
            f"{file} is not the expected file: it contains {found}. Expected {self.origin}; use --data csv for other "
            "tables.",
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

    Reads `tabular/mammography.csv` below the data root, which has no header; its last column is '-1' or '1'. Only
    7,848 rows are distinct; identical rows stay on the same side of every split.
    """

    path = "tabular/mammography.csv"
    origin = "OpenML 310 as CSV (Woods et al. 1993), 11,183 rows of 6 features and a last column '-1' or '1', no header"
    shape, n_rare = (11183, 6), 260
    target, header = "6", False
    labels: ClassVar[dict[str, str]] = {"'-1'": "non-calcification", "'1'": "calcification"}


class PolishBankruptcy(_Published):
    """Polish companies: 7,027 rows of 64 financial ratios, 3.86 % bankrupt five years later (UCI 365, first year).

    Reads `tabular/polish_bankruptcy_1year.arff` below the data root (Zięba et al. 2016). 5,835 values are missing.
    Ratios with a denominator near zero are dozens of standard deviations from the mean, so standardisation alone
    squeezes the middle half of most ratios into a few hundredths of a standard deviation, and nets learn little.
    Ratios are therefore replaced by ranks.

    Args:
        missing: How to fill in missing ratios: median or mean of the column over the training split.
        ranks: Whether to replace each ratio by the normal quantile of its rank among the training rows (from 100
            quantiles) before standardising; false standardises the ratios themselves.
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

    Reads `tabular/california_housing.csv` below the data root.
    """

    path = "tabular/california_housing.csv"
    origin = "StatLib's houses (Pace & Barry 1997) as CSV with a header, 20,640 rows with median_house_value"
    shape = (20640, 8)
    target, task = "median_house_value", "regression"
