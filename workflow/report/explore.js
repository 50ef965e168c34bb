"use strict";
// Draws the chart beside a picture when a reader asks for it. Plotly stands packed in the page and is unpacked once.
(() => {
  const DASHES = ["solid", "dash", "dashdot", "dot", "4px 2px", "longdash", "2px 4px", "longdashdot"];
  const MARKS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "hexagon"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const swatch = (group) => colour(group > 0 ? `series-${((group - 1) % 8) + 1}` : "grey");
  const pale = (hex) => `${hex}2e`;
  let library;

  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return window.Plotly;
  };

  const shown = (value, percent) =>
    value === null ? "–" : percent ? `${(100 * value).toFixed(1)} %` : value.toFixed(3).replace("-", "−");

  const text = (chart, series, i) => {
    if (series.form === "dots") return series.name;
    const at = (column) => series.columns[column].values[i];
    const percent = chart.percent.includes("y");
    let told = `${series.name}: ${shown(at(series.y), percent)}`;
    if (series.lower && at(series.lower) !== null)
      told += ` (${shown(at(series.lower), percent)} to ${shown(at(series.upper), percent)})`;
    if (chart.percent === "xy") told += ` where ${shown(at(series.x), true)} were predicted`;
    for (const [column, name] of Object.entries(series.beside)) told += `, ${at(column)} ${name}`;
    return told;
  };

  // Which point of a series holds at each place: for steps the last one before it, at every place where any line steps.
  const places = (chart, series) => {
    const own = series.columns[series.x].values;
    if (series.form !== "steps") return { x: own, at: own.map((_, i) => i) };
    const last = own[own.length - 1];
    const every = chart.series.flatMap((s) => s.columns[s.x].values).filter((x) => x >= own[0] && x <= last);
    const x = [...new Set(every)].sort((a, b) => a - b);
    let i = 0;
    return { x, at: x.map((place) => { while (i + 1 < own.length && own[i + 1] <= place) i += 1; return i; }) };
  };

  const band = (series, x, at, shape, base) => {
    const known = at.map((i, k) => [i, k]).filter(([i]) => series.columns[series.lower].values[i] !== null);
    const side = (column, fill) => ({
      ...base, x: known.map(([, k]) => x[k]), y: known.map(([i]) => series.columns[column].values[i]),
      mode: "lines", line: { width: 0, shape }, hoverinfo: "skip", fill, fillcolor: pale(swatch(series.group)),
    });
    return [side(series.lower, "none"), side(series.upper, "tonexty")];
  };

  const traces = (chart, hidden) => chart.series.flatMap((series) => {
    const { x, at } = places(chart, series);
    const shape = series.form === "steps" ? "hv" : "linear";
    const base = { type: "scatter", name: series.name, showlegend: false, visible: !hidden.has(series.name) };
    const y = at.map((i) => series.columns[series.y].values[i]);
    const own = {
      ...base, x, y, text: at.map((i) => text(chart, series, i)), hovertemplate: "%{text}<extra></extra>",
      mode: ["marks", "dots"].includes(series.form) ? "markers" : "lines",
      line: { shape, width: 2, color: swatch(series.group), dash: series.group > 0 ? DASHES[(series.group - 1) % 8] : "dot" },
      marker: { symbol: MARKS[Math.max(series.group - 1, 0) % 8], size: series.form === "dots" ? 5 : 9, color: swatch(series.group) },
    };
    if (!series.lower) return [own];
    if (series.form !== "marks") return [...band(series, x, at, shape, base), own];
    const [low, high] = [series.lower, series.upper].map((column) => series.columns[column].values);
    const error = { type: "data", symmetric: false, array: high.map((v, i) => v - y[i]), arrayminus: low.map((v, i) => y[i] - v) };
    return [{ ...own, error_y: { ...error, color: swatch(series.group), thickness: 1.4, width: 0 } }];
  });

  const whole = (ends) => (ends ? { range: [...ends], autorange: false } : { autorange: true });

  const layout = (chart) => {
    const axis = (name) => ({
      title: { text: chart[name], standoff: 8 }, gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false,
      tickformat: chart.percent.includes(name) ? ".0%" : "", hoverformat: chart.percent.includes(name) ? ".1%" : ".4~g",
    });
    const line = { type: "line", layer: "below", line: { color: colour("muted"), width: 1, dash: "dash" } };
    const guides = { diagonal: { ...line, x0: 0, y0: 0, x1: 1, y1: 1 }, zero: { ...line, xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0 } };
    const [steps, dots] = ["steps", "dots"].map((form) => chart.series.some((s) => s.form === form));
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 62, r: 16, t: 12, b: 50 },
      xaxis: { ...axis("x"), ...whole(chart.span), unifiedhovertitle: { text: `%{x}${chart.unit}` },
        spikecolor: colour("muted"), spikethickness: 1 },
      yaxis: { ...axis("y"), ...whole(chart.height), ...(dots ? { scaleanchor: "x" } : {}) },
      hovermode: steps || chart.guide === "zero" ? "x unified" : "closest",
      hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("rule"), font: { color: colour("ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      shapes: chart.guide ? [guides[chart.guide]] : [],
    };
  };

  const button = (name, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = name;
    made.addEventListener("click", act);
    return made;
  };

  const controls = (chart, hidden, redraw, plot) => {
    const line = document.createElement("div");
    line.className = "controls";
    const names = new Map(chart.series.map((s) => [s.name, s.group]));
    if (names.size > 1) {
      const choose = document.createElement("fieldset");
      choose.className = "choose";
      choose.append(Object.assign(document.createElement("legend"), { textContent: "Show" }));
      for (const [name, group] of names) {
        const label = document.createElement("label");
        label.style.setProperty("--swatch", `var(--${group > 0 ? `series-${((group - 1) % 8) + 1}` : "grey"})`);
        const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
        box.addEventListener("change", () => { if (box.checked) hidden.delete(name); else hidden.add(name); redraw(); });
        label.append(box, ` ${name}`);
        choose.append(label);
      }
      line.append(choose);
    }
    const zoom = (factor) => () => {
      const change = {};
      for (const side of ["xaxis", "yaxis"]) {
        const [from, to] = plot._fullLayout[side].range;
        const [middle, half] = [(from + to) / 2, (factor * (to - from)) / 2];
        change[`${side}.range`] = [middle - half, middle + half];
      }
      library.then((Plotly) => Plotly.relayout(plot, change));
    };
    const back = () => {
      const { xaxis, yaxis } = layout(chart);
      const change = Object.entries({ xaxis, yaxis }).map(([side, { range, autorange }]) =>
        range ? [`${side}.range`, range] : [`${side}.autorange`, autorange]);
      library.then((Plotly) => Plotly.relayout(plot, Object.fromEntries(change)));
    };
    const zooms = document.createElement("p");
    zooms.append(button("Zoom in", zoom(0.6)), button("Zoom out", zoom(1 / 0.6)), button("Whole", back));
    line.append(zooms);
    return line;
  };

  const open = async (place, chart) => {
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${chart.title}. The picture and the tables of the page say the same in words.`);
    const hidden = new Set();
    const redraw = () => library.then((Plotly) =>
      Plotly.react(plot, traces(chart, hidden), { ...layout(chart), uirevision: "kept" }, { displayModeBar: false, responsive: true }));
    const board = document.createElement("div");
    board.className = "board";
    board.append(controls(chart, hidden, redraw, plot), plot);
    place.append(board);
    dark.addEventListener("change", redraw);
    await redraw();
  };

  for (const place of document.querySelectorAll(".explore")) {
    const chart = JSON.parse(place.querySelector(".chart").textContent);
    const asked = place.querySelector("button");
    place.hidden = false;
    asked.addEventListener("click", async () => {
      const board = place.querySelector(".board");
      const opened = asked.getAttribute("aria-expanded") !== "true";
      asked.setAttribute("aria-expanded", String(opened));
      place.classList.toggle("opened", opened);
      if (board) { board.hidden = !opened; return; }
      library ??= unpack();
      await open(place, chart);
    });
  }
})();
