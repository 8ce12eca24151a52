// What all pages share: times in the viewer's zone, and polls that rest and fail quietly. Reading works without it.
(() => {
  "use strict";

  const FORMS = {
    time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    short: { hour: "2-digit", minute: "2-digit" },
    date: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
    day: { month: "short", day: "numeric" },
  };
  const DAY = 86_400_000;

  function localise(root) {
    for (const element of root.querySelectorAll("time[data-time]")) {
      const moment = new Date(element.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const style = element.dataset.time;
      const far = style !== "day" && style !== "date" && Math.abs(moment - Date.now()) > DAY / 2;
      const form = far ? { ...FORMS[style], month: "short", day: "numeric" } : FORMS[style];
      element.textContent = moment.toLocaleString([], form);
      element.title = element.dateTime;
      element.removeAttribute("data-time");
    }
  }

  // Polls: elements with data-poll ask again every few seconds (hx-trigger), but not for a hidden page.
  let stopped = false;
  const isPoll = (element) => element.hasAttribute("data-poll");

  function tell(text) {
    const status = document.getElementById("poll-status");
    if (status && status.textContent !== text) status.textContent = text;
  }

  function begin() {
    localise(document);
    // On a narrow screen the navigation is wider than its box.
    const here = document.querySelector(".pages [aria-current]");
    if (here) here.scrollIntoView({ block: "nearest", inline: "center" });
    document.body.addEventListener("htmx:afterSwap", (event) => localise(event.target));
    document.body.addEventListener("htmx:beforeRequest", (event) => {
      if (isPoll(event.target) && (stopped || document.hidden)) event.preventDefault();
    });
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (!isPoll(event.target)) return;
      const answer = event.detail.xhr;
      if (answer && answer.status === 401) {
        stopped = true;
        tell("Signed out. Load the page again to sign in.");
      } else if (event.detail.successful) {
        tell("");
      } else {
        tell("The server did not answer. Trying again.");
      }
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      for (const element of document.querySelectorAll("[data-poll]")) window.htmx.trigger(element, "look");
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
