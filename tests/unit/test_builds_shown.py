"""How builds and the age of their data are shown."""

from ledgermind_obs.render.builds import BuiltNode, DataAge, as_document, as_lines

NODES = [
    BuiltNode("model.shop.fct", "fct", "success", 1000.0),
    BuiltNode("model.shop.new", "new", "error", None),
]
AGES = [DataAge("training", "app.raw", 400.0), DataAge("training", "app.other", None)]


def test_each_node_says_when_it_was_built_and_each_source_how_old_its_data_is() -> None:
    assert list(as_lines(NODES, AGES, now=4600.0)) == [
        ("fct", "success", "built 1 h ago"),
        ("new", "error", "no whole build on record"),
        ("training", "reads app.raw", "as of 1 h 10 min ago"),
        ("training", "reads app.other", "of unknown age: measure before you build"),
    ]


def test_the_document_says_nothing_where_nothing_is_known() -> None:
    document = as_document(NODES, AGES, "http://gateway")

    assert document["delivery"] == {"destination": "http://gateway"}
    assert document["models"] == [node._asdict() for node in NODES]
    assert document["exposures"] == [age._asdict() for age in AGES]
