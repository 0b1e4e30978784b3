// From and to: typed in local time and sent in Unix seconds, so that a link means the same everywhere.

/** @param {HTMLFormElement} form @param {boolean} [submits] whether choosing from a list submits it */
export function moments(form, submits = false) {
  const fields = /** @type {HTMLInputElement[]} */ ([...form.querySelectorAll("[data-moment]")]);
  const range = /** @type {HTMLSelectElement | null} */ (form.elements.namedItem("range"));
  for (const field of fields) {
    const given = field.dataset.moment ?? "";
    const moment = new Date(/^[\d.]+$/.test(given) ? Number(given) * 1000 : given);
    if (Number.isNaN(moment.getTime())) continue;
    moment.setMinutes(moment.getMinutes() - moment.getTimezoneOffset());
    field.value = moment.toISOString().slice(0, 19);
  }
  const choose = () => {
    if (range) range.disabled = fields.some((field) => field.value);
  };
  fields.forEach((field) => field.addEventListener("input", choose));
  choose();
  if (submits) {
    form.addEventListener("change", (event) => {
      if (event.target instanceof HTMLSelectElement) form.requestSubmit();
    });
  }
  form.addEventListener("formdata", (event) => {
    const data = event.formData;
    for (const name of new Set(data.keys())) { // empty fields stay out of the URL
      const given = data.getAll(name).filter(Boolean);
      data.delete(name);
      given.forEach((value) => data.append(name, value));
    }
    for (const field of fields) {
      if (field.value) data.set(field.name, String(new Date(field.value).getTime() / 1000));
    }
  });
}
