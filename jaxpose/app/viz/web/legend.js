// The legend: what is shown, which each entry shows or hides, and the choice of colours.

import { PEOPLE } from "./drawing.js";
import { element, rampKey } from "./timeline.js";

// An entry for each group of layers and each surface, which shows or hides it, and the choice of colours.
export function buildLegend(viewer) {
  const body = viewer.find("legend-body"), entries = [], { show } = viewer, groups = new Map();
  for (const layer of show.layers) groups.set(layer.group, [...(groups.get(layer.group) || []), layer]);
  for (const [group, layers] of groups) {
    const [first] = layers, people = show.people > 1 ? show.people : 1;
    const count = group === "hypotheses" && first.count > people ? `${first.count / people} ` : "";
    const names = [...new Set(layers.map((layer) => layer.name))];
    const label = names.length > 1 ? `${count}hypotheses, hidden parts stronger` : `${count}${names[0]}`;
    entries.push(legendEntry(viewer, group, label, swatch(layers.at(-1), show)));
  }
  if (show.uncertainty)
    entries.push(legendEntry(viewer, "capsules", "50 % and 90 % capsules", swatch({ shell: true }, show), "of the posterior, for each joint"));
  for (const surface of show.surfaces) entries.push(legendEntry(viewer, surface.name, surface.name, swatch({ colour: surface.colour, bone: 1 }, show)));
  if (show.layers.length) entries.push(colourChoice(viewer), colourKey(viewer));
  if (viewer.travels() > 0.7) entries.push(followChoice(viewer));
  body.replaceChildren(...entries.filter(Boolean));
}

function legendEntry(viewer, group, text, sample, more = "") {
  const label = element("label"), box = element("input");
  box.type = "checkbox";
  box.checked = !viewer.show.hidden.has(group);
  box.dataset.group = group;
  box.addEventListener("change", () => {
    viewer.show.hidden[box.checked ? "delete" : "add"](group);
    viewer.request();
  });
  label.append(box, sample, text);
  if (more) label.append(Object.assign(element("small"), { textContent: more }));
  return label;
}

function colourChoice(viewer) {
  const label = element("label", "choice"), select = element("select");
  const options = [["sides", "left and right"]];
  if (viewer.show.people > 1) options.push(["person", "person"]);
  if (viewer.show.uncertainty) options.push(["uncertainty", "uncertainty"]);
  if (options.length === 1) return null;
  for (const [value, text] of options) select.add(new Option(text, value, false, value === viewer.show.colour));
  select.id = "colour";
  select.addEventListener("change", () => {
    viewer.show.colour = select.value;
    buildLegend(viewer);
    viewer.request();
  });
  label.append("Colour by", select);
  return label;
}

function colourKey(viewer) {
  const { show } = viewer, key = element("div", "key"), add = (text, colour) => {
    const part = element("span");
    part.style.setProperty("--c", colour);
    part.append(text);
    key.append(part);
  };
  if (show.colour === "uncertainty") return rampKey("", show);
  if (show.colour === "person") {
    viewer.content.people.slice(0, 12).forEach((name, p) => add(name, PEOPLE[p % PEOPLE.length]));
    return key;
  }
  if (!show.layers.some((layer) => layer.colour === "sides" || layer.colour === "pale")) return null;
  ["left", "right", "middle"].forEach((name, side) => add(name, show.theme.sides[side]));
  return key;
}

function followChoice(viewer) {
  const label = element("label", "choice"), box = element("input");
  box.type = "checkbox";
  box.checked = viewer.follow;
  box.addEventListener("change", () => {
    viewer.follow = box.checked;
    viewer.followed = viewer.followedStep = null;
    viewer.request();
  });
  label.append(box, "Follow the person");
  return label;
}

function swatch({ colour, bone, dot: dots, shell }, show) {
  const made = element("span", `swatch${bone || shell ? "" : " thin"}${colour === "given" ? " dot" : ""}${shell ? " shell" : ""}`);
  const tints = shell ? [show.theme.sides[0]] : colour?.startsWith("#") ? [colour] : colour === "truth" || colour === "given"
    ? [show.theme[colour]] : show.colour === "person" ? PEOPLE.slice(0, Math.min(3, show.people)) : show.theme.sides.slice(0, 2);
  for (const tint of tints) {
    const part = element("i");
    part.style.background = tint;
    if (shell) Object.assign(part.style, { opacity: 0.4, border: `1px solid ${tint}` });
    made.append(part);
  }
  return made;
}
