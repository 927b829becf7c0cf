// A page that holds what it shows.

import { read } from "./data.js";
import { fail, Viewer } from "./viewer.js";

const within = (id) => document.getElementById(id).textContent;
let viewer = null;
read(JSON.parse(within("content")), within("arrays")).then((content) => (viewer = new Viewer(content))).catch(fail);
