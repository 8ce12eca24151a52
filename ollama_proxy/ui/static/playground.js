// The page Playground: a chat with POST /ui/playground/chat, which speaks as /api/chat does: a JSON object on each line.
// What models say is only ever set as text. The conversation is a list in this page, and nowhere else.
(() => {
  "use strict";

  const form = document.getElementById("playground");
  if (!form) return;
  const $ = (id) => document.getElementById(id);
  const model = $("model"), prompt = $("prompt"), talk = $("talk"), state = $("state");
  const send = $("send"), stop = $("stop"), copy = $("copy"), clear = $("clear");
  const images = $("images"), attached = $("attached");

  const LONGEST_SIDE = 1024;
  const MOST_IMAGES = 4;
  const mostBytes = Number(form.dataset.mostBytes);
  // The log is written within two seconds.
  const LOOKS_MS = [2300, 3000];

  let messages = [];
  let pictures = [];
  let running = null;

  // Making elements

  function made(tag, className = "", text = "") {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  }

  function turn(className, title) {
    const element = made("article", `turn ${className}`);
    element.append(made("h2", "", title));
    talk.append(element);
    return element;
  }

  // A part of an answer that grows: appending to one text node is quick, however long it is.
  function growing(parent, tag, className) {
    const text = document.createTextNode("");
    const element = made(tag, className);
    element.append(text);
    parent.append(element);
    return text;
  }

  let isToScroll = false;
  function follow() {
    if (isToScroll) return;
    const isAtEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;
    if (!isAtEnd) return;
    isToScroll = true;
    requestAnimationFrame(() => {
      isToScroll = false;
      talk.scrollTop = talk.scrollHeight;
    });
  }

  // What models can do

  function chosen() {
    return model.selectedOptions[0];
  }

  function sees() {
    return "sees" in chosen().dataset;
  }

  function tellAbilities() {
    const { dataset } = chosen();
    const words = [dataset.window !== "0" ? `window ${dataset.window}` : "", sees() ? "sees images" : "", "thinks" in dataset ? "thinks" : ""];
    $("abilities").textContent = words.filter(Boolean).join(" · ");
    $("think").disabled = !("thinks" in dataset);
    images.disabled = !sees();
    $("images-help").textContent = sees() ? `At most ${MOST_IMAGES}; large ones are made smaller here.` : "This model does not see images.";
    if (!sees() && pictures.length) {
      pictures = [];
      showPictures();
      state.textContent = "The images were taken away: this model does not see any.";
    } else if (!sees() && messages.some((one) => one.images)) {
      state.textContent = "This model does not see the images of the conversation: they are not sent to it.";
    }
  }

  // Images: read, made smaller and written as JPEG here

  async function smaller(file) {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return { name: file.name, url: canvas.toDataURL("image/jpeg", 0.85) };
  }

  async function attach() {
    const files = [...images.files];
    images.value = "";
    for (const file of files) {
      if (pictures.length >= MOST_IMAGES) {
        state.textContent = `At most ${MOST_IMAGES} images go with a message.`;
        break;
      }
      try {
        pictures.push(await smaller(file));
      } catch {
        state.textContent = `${file.name} cannot be read as an image.`;
      }
    }
    showPictures();
  }

  function picture(one) {
    const image = made("img");
    image.src = one.url;
    image.alt = one.name;
    return image;
  }

  function showPictures() {
    attached.replaceChildren(...pictures.map((one) => {
      const item = made("li");
      const remove = made("button", "quiet", "Remove");
      remove.type = "button";
      remove.setAttribute("aria-label", `Remove ${one.name}`);
      remove.addEventListener("click", () => {
        pictures = pictures.filter((other) => other !== one);
        showPictures();
        prompt.focus();
      });
      item.append(picture(one), remove);
      return item;
    }));
  }

  // Asking

  function body(question) {
    const options = {};
    if ($("temperature").value !== "") options.temperature = Number($("temperature").value);
    if ($("most-tokens").value !== "") options.num_predict = Math.trunc(Number($("most-tokens").value));
    const system = $("system").value.trim();
    // A model that sees no images would be refused for those of earlier messages. One that sees them gets them again.
    const said = sees() ? messages : messages.map(({ images: _, ...one }) => one);
    const asked = { model: model.value, messages: [...said, question], stream: true, options };
    if (system) asked.messages.unshift({ role: "system", content: system });
    const think = $("think").disabled ? "" : $("think").value;
    if (think) asked.think = think === "true" || think === "false" ? think === "true" : think;
    return JSON.stringify(asked);
  }

  async function* lines(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
    if (rest.trim()) yield JSON.parse(rest);
  }

  const REFUSALS = { 401: "Signed out: load the page again to sign in.", 403: "The server refused it: load the page again." };

  async function refusal(response) {
    const text = await response.text();
    try {
      return JSON.parse(text).error || text;
    } catch {
      return REFUSALS[response.status] || `The server answered with status ${response.status}.`;
    }
  }

  async function ask() {
    const text = prompt.value.trim();
    if (running || (!text && !pictures.length)) return;
    const question = { role: "user", content: text };
    if (pictures.length) question.images = pictures.map((one) => one.url.slice(one.url.indexOf(",") + 1));
    const asked = body(question);
    if (new Blob([asked]).size > mostBytes) {
      state.textContent = "This is more than the server takes: leave images out, or clear the conversation.";
      return;
    }
    const mine = turn("asked", "You");
    mine.append(made("div", "text", text), ...pictures.map(picture));
    const sent = pictures;
    prompt.value = "";
    pictures = [];
    showPictures();
    talk.scrollTop = talk.scrollHeight;
    const answer = new Answer(turn("answer", model.value));
    running = new AbortController();
    tellRunning();
    await answer.read(asked, running.signal);
    running = null;
    if (answer.text.length) {
      messages.push(question, { role: "assistant", content: answer.text.data });
    } else if (!prompt.value) {
      // Nothing came: the question is not part of the conversation, and can be sent again.
      prompt.value = text;
      pictures = sent;
      showPictures();
    }
    tellRunning();
  }

  // One answer: its element, what came, and when

  class Answer {
    constructor(element) {
      this.element = element;
      element.setAttribute("aria-busy", "true");
      this.text = document.createTextNode("");
      this.thinking = null;
      this.began = performance.now();
      this.first = null;
      this.facts = new Map();
    }

    async read(asked, signal) {
      state.textContent = "Waiting for the first token…";
      let id = "";
      try {
        const response = await fetch(form.dataset.url, {
          method: "POST", headers: { "Content-Type": "application/json" }, body: asked, signal,
        });
        id = response.headers.get("X-Request-Id") || "";
        this.tell("Answered by", response.headers.get("X-OpenRouter-Model"));
        this.tell("Tried", response.headers.get("X-Proxy-Chain"), "chain");
        if (response.ok) for await (const line of lines(response)) this.take(line);
        else this.fail(await refusal(response));
        if (response.ok && !this.ended) this.fail("The answer ended early.");
      } catch (error) {
        if (signal.aborted) this.tell("Stopped", "by you");
        else this.fail(this.first === null ? "The server did not answer." : "The connection broke.");
      }
      this.element.removeAttribute("aria-busy");
      this.tell("Total", seconds(performance.now() - this.began));
      if (!this.failed) state.textContent = signal.aborted ? "Stopped." : "";
      if (id) look(id, this, 0);
    }

    take(line) {
      if (line.error) {
        this.fail(line.error);
        return;
      }
      const { thinking, content } = line.message || {};
      if ((thinking || content) && this.first === null) {
        this.first = performance.now() - this.began;
        this.tell("First token", seconds(this.first));
        state.textContent = "Answering…";
      }
      if (thinking) this.think(thinking);
      if (content) this.say(content);
      if (line.done) {
        this.ended = true;
        this.tell("Tokens", tokens(line.prompt_eval_count, line.eval_count));
        if (line.done_reason === "length") this.tell("Ended", "at the most tokens");
      }
      follow();
    }

    think(text) {
      if (!this.thinking) {
        const holder = made("details", "thinking");
        holder.open = true;
        holder.append(made("summary", "", "Thinking"));
        this.thinking = growing(holder, "pre", "");
        this.element.insertBefore(holder, this.element.querySelector(".told"));
        this.holder = holder;
      }
      this.thinking.appendData(text);
    }

    say(text) {
      if (!this.text.length) {
        if (this.holder) this.holder.open = false;
        const element = made("div", "text");
        element.append(this.text);
        this.element.insertBefore(element, this.element.querySelector(".told"));
      }
      this.text.appendData(text);
    }

    fail(text) {
      this.failed = this.ended = true;
      this.element.classList.add("failed");
      this.element.insertBefore(made("p", "error", text), this.element.querySelector(".told"));
      state.textContent = "That failed: see above.";
      follow();
    }

    // A fact about the answer, below it; a later one of the same name takes its place.
    tell(name, value, className = "") {
      if (!value) return;
      let list = this.element.querySelector(".told");
      if (!list) this.element.append(list = made("dl", "told"));
      let place = this.facts.get(name);
      if (!place) {
        const row = made("div", className);
        place = made("dd");
        row.append(made("dt", "", name), place);
        list.append(row);
        this.facts.set(name, place);
      }
      place.replaceChildren(value);
      follow();
    }
  }

  function seconds(ms) {
    return ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(1)} s`;
  }

  function tokens(read, written) {
    return `${read ?? "–"} read, ${written ?? "–"} written`;
  }

  function dollars(value) {
    return value === 0 ? "$0" : `$${value.toFixed(value < 1 ? 6 : 2)}`;
  }

  // What the log has of the request: the chain with its times, and the cost

  async function look(id, answer, number) {
    if (number >= LOOKS_MS.length) return;
    await new Promise((done) => setTimeout(done, LOOKS_MS[number]));
    let found = null;
    try {
      const response = await fetch(form.dataset.answered + encodeURIComponent(id));
      found = response.ok ? (await response.json()).request : null;
    } catch {
      // What is known without it stays.
    }
    if (!found) {
      look(id, answer, number + 1);
      return;
    }
    answer.tell("Answered by", found.model);
    answer.tell("Tried", found.chain.map((one) => `${one.model} (${one.reason ? `${one.reason}, ` : ""}${seconds(one.seconds * 1000)})`).join(" → "), "chain");
    if (found.completion_tokens !== null) answer.tell("Tokens", tokens(found.prompt_tokens, found.completion_tokens));
    if (found.cost !== null) answer.tell("Cost", dollars(found.cost));
    const link = made("a", "", id);
    link.href = form.dataset.requests + encodeURIComponent(id);
    answer.tell("Request", link);
  }

  function tellRunning() {
    send.disabled = Boolean(running);
    stop.disabled = !running;
    copy.disabled = clear.disabled = Boolean(running) || !talk.childElementCount;
    (running ? stop : prompt).focus();
  }

  async function copyTalk() {
    const text = messages.map((one) => `${one.role === "user" ? "You" : "Model"}:\n${one.content}`).join("\n\n");
    try {
      if (!window.isSecureContext) throw new Error("no clipboard on plain HTTP");
      await navigator.clipboard.writeText(text);
      state.textContent = "Copied.";
    } catch {
      window.getSelection().selectAllChildren(talk);
      state.textContent = document.execCommand("copy") ? "Copied." : "Selected: press Ctrl+C to copy.";
    }
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask();
  });
  stop.addEventListener("click", () => running && running.abort());
  clear.addEventListener("click", () => {
    messages = [];
    talk.replaceChildren();
    state.textContent = "Cleared.";
    tellRunning();
  });
  copy.addEventListener("click", copyTalk);
  images.addEventListener("change", attach);
  model.addEventListener("change", tellAbilities);
  tellAbilities();
})();
