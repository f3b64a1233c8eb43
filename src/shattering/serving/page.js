"use strict";
// Asks again every two seconds; an answer that has not changed comes back as 304 and changes nothing here.
(() => {
  const every = 2000;
  const statuses = [
    ["done", "fitted", "reached the fit criterion"], ["not_fitted", "did not fit", "spent their budget of steps"],
    ["diverged", "diverged", "met a loss that is not finite"], ["failed", "failed", "stopped by an error"],
    ["cancelled", "not ended", "under way, waiting or interrupted"],
  ];
  const known = new Map();
  const by = (id) => document.getElementById(id);
  const count = (number) => number.toLocaleString("en");
  const set = (id, text) => { if (by(id).textContent !== text) by(id).textContent = text; };
  // Words in which a command stands between backticks, as in the messages of the program.
  const say = (id, text) => {
    if (by(id).dataset.said === text) return;
    by(id).dataset.said = text;
    by(id).replaceChildren(...marked(text));
  };
  let chosen = "", drawn = "", asking = false, again = false;

  function element(name, text, kind) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  }

  function marked(text) {
    const pieces = text.split("`");
    if (pieces.length % 2 === 0) return [document.createTextNode(text)];
    return pieces.map((piece, place) => place % 2 ? element("code", piece) : document.createTextNode(piece));
  }

  function row(cells, name = "td", numeric = () => false) {
    const line = element("tr");
    cells.forEach((cell, place) => line.append(cell instanceof Node ? cell : element(name, cell, numeric(place) ? "n" : "")));
    return line;
  }

  function heads(words, numeric) {
    const line = row(words, "th", numeric), head = element("thead");
    for (const cell of line.children) cell.scope = "col";
    head.append(line);
    return head;
  }

  // The tree at an address, and whether it is another one than the last time.
  async function ask(address) {
    const before = known.get(address);
    const answer = await fetch(address, {cache: "no-store", headers: before ? {"If-None-Match": before.tag} : {}});
    if (answer.status === 304) return [before.tree, false];
    if (answer.status === 401 || answer.status === 403) throw new Error("The server was started anew: open the address that its terminal shows now.");
    if (!answer.ok) return [null, true];
    const tree = await answer.json();
    known.set(address, {tag: answer.headers.get("ETag"), tree});
    return [tree, true];
  }

  async function look() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const [all, changed] = await ask("/overview");
      if (changed) showPlans(all);
      const wanted = location.hash.slice(1);
      const plan = all.plans.find((each) => each.id === wanted) || all.plans.find((each) => each.alive) || all.plans[0];
      by("main").hidden = !plan;
      const problems = plan ? await showPlan(plan.id) : [];
      say("state", all.reading ? "Reading the store for the first time; with many runs this takes a while…" : problems.length ? problems.join(" ") : "Up to date.");
    } catch (error) {
      say("state", error instanceof TypeError ? "The server does not answer; start `shattering serve` again." : error.message);
    }
    asking = false;
    if (again) { again = false; look(); }
  }

  function showPlans(all) {
    set("store", all.store);
    by("no-plans").hidden = all.reading || all.plans.length > 0;
    by("problems").hidden = all.problems.length === 0;
    by("problems").replaceChildren(...all.problems.map((problem) => { const item = element("li"); item.append(...marked(problem)); return item; }));
    const list = by("plans"), there = new Map([...list.children].map((item) => [item.dataset.plan, item]));
    for (const plan of all.plans) {
      let item = there.get(plan.id);
      if (!item) {
        item = element("li");
        item.dataset.plan = plan.id;
        const link = element("a");
        link.href = "#" + plan.id;
        link.append(element("span", plan.title), element("span", "", "soft"));
        item.append(link);
        list.append(item);
      }
      there.delete(plan.id);
      const ended = plan.planned - plan.counts.cancelled;
      item.querySelector(".soft").textContent = `${count(ended)} of ${count(plan.planned)} ended` + (plan.alive ? `, ${count(plan.alive)} under way` : "");
    }
    for (const item of there.values()) item.remove();
  }

  async function showPlan(id) {
    const [plan, changed] = await ask("/plan/" + id);
    if (!plan || plan.reading) return [];
    if (!plan.choices) throw new Error(plan.problems.join(" "));
    const fresh = id !== chosen;
    if (fresh) {
      chosen = id;
      for (const link of by("plans").querySelectorAll("a")) {
        if (link.hash === "#" + id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      }
      by("choice").replaceChildren();
    }
    if (fresh || changed) { showProgress(plan); showFindings(plan, id); showChoices(plan.choices); }
    const address = `/plan/${id}/curves/${Math.max(0, by("choice").selectedIndex)}`;
    const [curves, moved] = await ask(address);
    const picture = address + by("log").checked;
    if (curves && !curves.reading && (changed || moved || picture !== drawn)) { drawn = picture; showCurves(curves, plan.underway); }
    return [...plan.problems, ...(curves ? curves.problems : [])];
  }

  function showProgress(plan) {
    set("title", plan.title);
    document.title = `${count(plan.planned - plan.counts.cancelled)}/${count(plan.planned)} · shattering`;
    set("question", plan.question);
    set("progress", `${count(plan.planned - plan.counts.cancelled)} of ${count(plan.planned)} runs have ended`);
    const bar = shape("svg", {viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true"});
    let from = 0;
    by("counts").replaceChildren();
    for (const [status, word, meaning] of statuses) {
      const share = 1000 * plan.counts[status] / Math.max(1, plan.planned);
      bar.append(shape("rect", {x: from, y: 0, width: share, height: 10, class: "s-" + status}));
      from += share;
      const item = element("li", ` ${count(plan.counts[status])} ${word}`);
      const mark = shape("svg", {width: 10, height: 10, "aria-hidden": "true"});
      mark.append(shape("rect", {width: 10, height: 10, class: "s-" + status}));
      item.prepend(mark);
      item.append(element("span", ` (${meaning})`, "soft"));
      by("counts").append(item);
    }
    by("bar").replaceChildren(bar);
    const left = plan.counts.cancelled;
    const pace = plan.remaining ? `About ${plan.remaining} remain at the pace seen here.` : left && plan.alive ? "No estimate of the time that remains until five runs have ended while this page is open." : "";
    const who = plan.alive ? `${count(plan.alive)} of the rest are held by a process that is alive. ` : left ? "Nobody computes runs of this plan now, as far as the locks of the store tell. " : "";
    set("pace", who + pace);
    by("underway-box").hidden = plan.underway.length === 0;
    by("underway").replaceChildren(...plan.underway.map((run) => {
      const last = (points) => points.length ? percent(points[points.length - 1][1]) : "–";
      const steps = run.step === null ? (run.steps ? `no checkpoint yet; at most ${count(run.steps)}` : "no checkpoint yet") : `${count(run.step)} of at most ${run.steps ? count(run.steps) : "?"}`;
      return row([run.run, run.what, steps, last(run.train_accuracy), last(run.test_accuracy)], "td", (place) => place > 1);
    }));
    set("command", plan.command || "The plan does not say.");
  }

  const numeric = (place) => place === 1 || place === 2;

  function claimRow(claim, head) {
    const what = element("td", claim.quantity), verdict = element("td");
    const paper = element("td", claim.paper, "n"), ours = element("td", claim.ours, "n");
    what.append(element("div", claim.source + (claim.effect ? ": " + claim.effect : ""), "soft"));
    ours.append(element("div", claim.interval, "soft"));
    paper.dataset.head = "paper";
    ours.dataset.head = head;
    verdict.append(element("span", claim.verdict, claim.tone), element("div", claim.meaning, "soft"));
    return row([what, paper, ours, verdict]);
  }

  // Claims that no run bears on yet are folded, as in the written report.
  function showClaims(plan) {
    const claims = by("claims"), open = claims.querySelector("details[open]") !== null;
    const settled = plan.claims.filter((claim) => claim.verdict !== "not run"), absent = plan.claims.filter((claim) => claim.verdict === "not run");
    claims.hidden = plan.claims.length === 0;
    claims.replaceChildren();
    if (plan.claims.length) claims.append(element("p", `${settled.length} of ${plan.claims.length} claims of the paper can be judged by now; verdicts may change while runs come.`, "soft"));
    if (settled.length) {
      const table = element("table", undefined, "claims"), body = element("tbody");
      body.append(...settled.map((claim) => claimRow(claim, plan.ours)));
      table.append(heads(["claim", "paper", plan.ours, "verdict so far"], numeric), body);
      claims.append(table);
    }
    if (absent.length) {
      const box = element("details"), table = element("table"), body = element("tbody"), one = absent.length === 1;
      box.id = "absent";
      box.open = open;
      box.append(element("summary", `${count(absent.length)} ${one ? "claim" : "claims"} not run: no run here bears on ${one ? "it" : "them"}`));
      body.append(...absent.map((claim) => row([claim.quantity, claim.source, claim.paper], "td", (place) => place === 2)));
      table.append(heads(["quantity", "source", "paper"], (place) => place === 2), body);
      box.append(table);
      claims.append(box);
    }
  }

  function showFindings(plan, id) {
    say("answer", plan.answer);
    say("note", plan.note);
    showClaims(plan);
    by("tables").replaceChildren(...plan.tables.map((each) => {
      const box = element("div", undefined, "wide"), table = element("table"), body = element("tbody");
      box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", each.title);
      table.append(element("caption", each.title), heads(each.heads));
      for (const cells of each.rows) body.append(row(cells));
      table.append(body);
      box.append(table);
      return box;
    }));
    if (plan.report && !by("report").firstChild) {
      const link = element("a", "The written report, with figures");
      link.href = `/plan/${id}/report`;
      by("report").append(link, ...marked(", as it was last written; `shattering report` writes it again."));
    } else if (plan.report) {
      by("report").firstChild.href = `/plan/${id}/report`;
    } else {
      set("report", "");
    }
  }

  function showChoices(titles) {
    const list = by("choice");
    if (titles.join("\n") === [...list.options].map((option) => option.text).join("\n")) return;
    list.replaceChildren(...titles.map((title) => element("option", title)));
  }

  function listed(words) {
    if (words.length > 4) return words.slice(0, 3).join(", ") + ` and ${words.length - 3} other settings`;
    return words.length < 2 ? words.join() : words.slice(0, -1).join(", ") + " and " + words[words.length - 1];
  }

  function showCurves(curves, underway) {
    const log = by("log").checked, left = {diverged: 0, failed: 0}, live = underway.filter((run) => run.train_accuracy.length || run.test_accuracy.length);
    const shown = [["training accuracy", "train_accuracy"], ["test accuracy", "test_accuracy"]].filter(([, name]) => [...curves.lines, ...live].some((line) => line[name].length));
    for (const id of ["controls", "legend", "charts", "last-box"]) by(id).hidden = shown.length === 0;
    by("legend").replaceChildren(...curves.lines.map((line, number) => {
      for (const status of Object.keys(left)) left[status] += line.counts[status];
      const planned = Object.values(line.counts).reduce((sum, each) => sum + each, 0);
      const item = element("li", ` ${line.name} (${count(line.counts.done + line.counts.not_fitted)} of ${count(planned)} runs)`);
      item.prepend(swatch(number));
      return item;
    }));
    const charts = shown.map(([title, name]) => chart(title, [
      ...curves.lines.map((line, number) => ({name: line.name, points: line[name], number, live: false})),
      ...live.filter((run) => run[name].length).map((run) => ({name: "run " + run.run + ", under way", points: run[name], number: 7, live: true})),
    ], log));
    by("charts").replaceChildren(...charts);
    const out = Object.entries(left).filter(([, many]) => many).map(([status, many]) => `${count(many)} ${status}`).join(", ");
    const ran = curves.lines.reduce((sum, line) => sum + line.counts.done + line.counts.not_fitted, 0);
    const together = curves.together.length ? `, whatever their ${listed(curves.together)}` : "";
    const means = `Each point is the mean over the runs of its line that have ended${together}. A run that ended before that step counts with its last value. `;
    const none = ran ? "No curve: of the runs that have ended, none recorded training or test accuracy while it ran. " : "No curve yet: no run has ended. ";
    set("reading-curves", (shown.length ? means : none) + (out ? `Left out: ${out}. ` : "") + (live.length ? "Fine dots are single runs under way, as far as their newest checkpoint." : ""));
    const table = element("table"), body = element("tbody");
    table.append(heads(["line", "last step", "training accuracy", "test accuracy", "runs there"], (place) => place > 0));
    for (const line of curves.lines) {
      const end = (points) => points[points.length - 1];
      const train = end(line.train_accuracy), test = end(line.test_accuracy), any = train || test;
      body.append(row([line.name, any ? count(any[0]) : "–", train ? percent(train[1]) : "–", test ? percent(test[1]) : "–", any ? count(any[2]) : "–"], "td", (place) => place > 0));
    }
    table.append(body);
    by("last").replaceChildren(table);
  }

  addEventListener("hashchange", look);
  by("choice").addEventListener("change", look);
  by("log").addEventListener("change", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  setInterval(() => { if (!document.hidden) look(); }, every);
  look();
})();
