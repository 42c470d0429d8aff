"""How tables are laid out."""

import pytest

from results4comparison import formatting

TABLE = formatting.markdown(
    ["model", "seeds", "test recall@20", "p"],
    [["EASE", "1", "0.4025", ""], ["ReFINe++ --learning_rate 0.006 --batch_size 4096", "5", "0.4442 ± 0.0020", "0.1"]],
)


def test_a_table_that_fits_is_left_as_it_is():
    assert formatting.fit(["words", "", *TABLE], 100) == (["words", "", *TABLE], False)


def test_a_wide_table_has_its_names_wrapped_and_all_columns_where_that_is_enough():
    assert formatting.fit(TABLE, 55) == (
        [
            "model                  seeds  test recall@20   p",
            "---------------------  -----  ---------------  ---",
            "EASE                   1      0.4025",
            "ReFINe++               5      0.4442 ± 0.0020  0.1",
            "--learning_rate 0.006",
            "--batch_size 4096",
        ],
        False,
    )


@pytest.mark.parametrize(("width", "columns"), [(49, 3), (40, 2), (25, 1)])
def test_of_a_table_that_is_still_too_wide_the_last_columns_are_left_out_which_is_said(width, columns):
    lines, cut = formatting.fit(["a sentence of words " * 5, *TABLE], width)
    assert cut and max(map(len, lines)) <= width
    (header,) = (line for line in lines if line.startswith("model"))
    assert header.split("  ")[0] == "model" and ("seeds" in header, "recall" in header) == (columns > 1, columns > 2)
