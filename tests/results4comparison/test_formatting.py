"""How tables are laid out."""

import pytest

from results4comparison import finished_runs, formatting, kept_runs, table

TABLE = formatting.markdown(
    ["model", "seeds", "test recall@20", "p"],
    [["EASE", "1", "0.4025", ""], ["ReFINe++ --learning_rate 0.006 --batch_size 4096", "5", "0.4442 ± 0.0020", "0.1"]],
)


def test_a_table_that_fits_is_left_as_it_is():
    assert formatting.fitted(["words", "", *TABLE], 100) == (["words", "", *TABLE], False)


def test_a_wide_table_has_its_names_wrapped_and_all_columns_where_that_is_enough():
    assert formatting.fitted(TABLE, 55) == (
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
    lines, cut = formatting.fitted(["a sentence of words " * 5, *TABLE], width)
    assert cut and max(map(len, lines)) <= width
    (header,) = (line for line in lines if line.startswith("model"))
    assert header.split("  ")[0] == "model" and ("seeds" in header, "recall" in header) == (columns > 1, columns > 2)


def test_kept_runs_of_before_have_empty_cells_beside_one_that_says_what_its_lists_hold(monkeypatch):
    found = {"coverage@20": 0.25, "gini@20": 0.75, "popularity@20": 99.5}
    groups = kept_runs.experiments(table.is_headline)
    assert table.lists(table.is_headline) == []  # all are of before
    (of_one_seed,) = (runs for experiment, runs in groups.items() if experiment.model == "Popularity")
    next(iter(of_one_seed.values()))["lists"] = found
    monkeypatch.setattr(kept_runs, "experiments", lambda wanted: groups)
    first, above, _, header, _, *rows = table.lists(table.is_headline)
    assert (first, above) == ("", formatting.ABOUT_LISTS) and "popularity@20" in header
    cells = [row[2:-2].split(" | ")[3:] for row in rows]
    assert sorted(map(tuple, cells)) == [("", "", "")] * (len(groups) - 1) + [("0.2500", "0.7500", "99.5")]


def test_rows_without_these_figures_make_no_table():
    assert finished_runs.tables_of_lists([]) == []
