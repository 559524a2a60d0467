// The few things that a page can't do by itself: copy, upload with progress, show a license as it is typed.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.getAttribute("aria-label");
  button.classList.add("is-copied");
  button.setAttribute("aria-label", button.dataset.done);
  setTimeout(() => {
    button.classList.remove("is-copied");
    button.setAttribute("aria-label", label);
  }, 1500);
});

document.querySelectorAll("form[data-once]").forEach((form) => {
  form.addEventListener("submit", () => {
    // After the browser has collected the fields; a second click would be harmless, but confusing.
    setTimeout(() => form.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("form[data-once] button").forEach((b) => (b.disabled = false));
});

document.querySelectorAll(".search input[type=radio]").forEach((radio) => {
  radio.addEventListener("change", () => radio.form.requestSubmit());
});

function preview(form, ticket) {
  const show = (name, text) => (ticket.querySelector(`[data-show=${name}]`).textContent = text);
  const update = () => {
    const design = form.design.selectedOptions[0];
    const printer = form.printer.selectedOptions[0];
    const image = ticket.querySelector("[data-show=thumbnail]");
    const day = form.last_day.valueAsDate;
    show("number", form.number.value || "–");
    show("design", design.text);
    show("about", design.dataset.about);
    show("sha", `SHA-256 ${design.dataset.sha}`);
    show("printer", printer.text);
    show("address", printer.dataset.address);
    const copies = Number(form.copies.value || 0);
    const unit = ticket.querySelector("[data-show=unit]");
    show("copies", copies.toLocaleString(ticket.dataset.language));
    unit.textContent = copies === 1 ? unit.dataset.one : unit.dataset.many;
    show(
      "last_day",
      day
        ? day.toLocaleDateString(ticket.dataset.language, { dateStyle: "medium", timeZone: "UTC" })
        : ticket.dataset.noEnd
    );
    image.hidden = !design.dataset.thumbnail;
    if (design.dataset.thumbnail && image.getAttribute("src") !== design.dataset.thumbnail) {
      image.src = design.dataset.thumbnail;
    }
  };
  form.addEventListener("input", update);
  update();
}

function upload(form) {
  const [drop, input, sending] = ["drop", "file", "sending"].map((id) => document.getElementById(id));
  const [bar, text, stop] = ["sending-bar", "sending-text", "sending-stop"].map((id) => document.getElementById(id));
  const failure = document.getElementById("upload-error");
  let request = null;

  const idle = (message) => {
    request = null;
    drop.hidden = false;
    sending.hidden = true;
    input.value = "";
    failure.hidden = !message;
    failure.lastElementChild.textContent = message || "";
    if (message) input.focus();
  };

  const send = (file) => {
    if (!file || request) return;
    if (file.size > Number(form.dataset.limit)) return idle(form.dataset.tooLarge);
    document.getElementById("sending-name").textContent = file.name;
    failure.hidden = true;
    drop.hidden = true;
    sending.hidden = false;
    bar.value = 0;
    request = new XMLHttpRequest(); // fetch can't tell how much of a request was sent
    request.open("PUT", `${form.dataset.url}?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("X-CSRFToken", form.dataset.csrf);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      const percent = event.total ? Math.floor((100 * event.loaded) / event.total) : 0;
      bar.value = percent;
      text.textContent = percent < 100 ? `${form.dataset.sending} ${percent} %` : form.dataset.working;
    });
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch (error) {
        console.error("The answer to the upload isn't JSON.", error);
      }
      if (request.status < 300 && answer.location) window.location.assign(answer.location);
      else idle(answer.detail || form.dataset.lost);
    });
    request.addEventListener("error", () => idle(form.dataset.lost));
    request.addEventListener("abort", () => idle());
    request.send(file);
  };

  input.addEventListener("change", () => send(input.files[0]));
  stop.addEventListener("click", () => request && request.abort());
  for (const name of ["dragover", "dragenter"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("is-over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("is-over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    send(event.dataTransfer.files[0]);
  });
}

const issueForm = document.getElementById("issue");
if (issueForm) preview(issueForm, document.getElementById("preview"));
const uploadForm = document.getElementById("upload");
if (uploadForm) upload(uploadForm);
