"""Names of networks in models' files; docs_test.py runs the network and the loss of docs/extending.md."""

from shared import refuses

from jaxpose.networks import ScoreMLP, register_network


def test_a_name_has_one_network():
    assert register_network(ScoreMLP) is ScoreMLP
    refuses("a network 'ScoreMLP' already", register_network, type("ScoreMLP", (ScoreMLP,), {}))
