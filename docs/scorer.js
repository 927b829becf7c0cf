// Weights of the site's search: Sphinx's own, with guides before API pages, notebooks, models and changes.
var Scorer = {
  score: function (result) {
    var name = result[0];
    if (/^(api|models|notebooks)\//.test(name) || name === "changes") return result[4] - 30;
    return name === "how_do_i" ? result[4] + 10 : result[4];
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 5, 1: -5, 2: -15 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
