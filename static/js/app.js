// What every page has.

import "./theme.js";
import "./toast.js";
import "./actions.js";
import "./menu.js";
import "./keys.js";
import "./palette.js";
import "./age.js";
import "./rows.js";
import "./filters.js";
import "./jobs.js";
