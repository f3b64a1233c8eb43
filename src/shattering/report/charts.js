(() => {
  "use strict";
  const narrow = 620;
  for (const box of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(document.getElementById(box.id + "-spec").textContent);
    const room = Math.max(220, box.clientWidth - 80);
    if (spec.spec) {
      if (box.clientWidth < narrow) { spec.columns = 1; spec.spec.width = room; }
    } else {
      spec.width = Math.min(spec.width, room);
    }
    if (box.clientWidth < narrow) { spec.config.legend.columns = 1; }
    // The interpreter (ast) needs no code made from text, which the page's policy forbids.
    vegaEmbed(box, spec, {ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: {disableDefaultStyle: true}})
      .catch(() => {
        // Fall back to the still picture that readers without scripts see.
        const still = document.getElementById(box.id + "-still");
        if (still) { box.innerHTML = still.textContent; }
      });
  }
})();
