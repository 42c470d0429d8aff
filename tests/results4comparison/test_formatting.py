"""How tables are laid out."""

from results4comparison import formatting

TABLE = formatting.markdown(
    ["model", "seeds", "test recall@20", "p"],
    [["EASE", "1", "0.4025", ""], ["ReFINe++ --learning_rate 0.006", "5", "0.4442 ± 0.0020", "0.1"]],
)


def test_a_table_that_fits_is_left_as_it_is_and_a_wider_one_is_split_into_blocks_of_columns():
    assert formatting.fit(["words", "", *TABLE], 80) == ["words", "", *TABLE]
    words, *fitted = formatting.fit(["words", *TABLE], 50)
    assert words == "words" and max(map(len, fitted)) <= 50
    assert fitted[1].split()[:3] == ["0", "EASE", "1"]
    assert fitted[-1].split() == ["1", "0.4442", "±", "0.0020", "0.1"]
