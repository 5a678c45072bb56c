/* Security keys: asks the browser for one with the options in the form's data attribute, and sends
   what it answers in the form's hidden field. WebAuthn carries bytes, JSON carries base64url. */
(() => {
  "use strict";

  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");

  const named = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

  const make = async (options) => {
    const made = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        user: { ...options.user, id: bytes(options.user.id) },
        excludeCredentials: named(options.excludeCredentials),
      },
    });
    return {
      attestationObject: text(made.response.attestationObject),
      of: made,
    };
  };

  const use = async (options) => {
    const used = await navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: bytes(options.challenge),
        allowCredentials: named(options.allowCredentials),
      },
    });
    const handle = used.response.userHandle;
    return {
      authenticatorData: text(used.response.authenticatorData),
      signature: text(used.response.signature),
      ...(handle ? { userHandle: text(handle) } : {}),
      of: used,
    };
  };

  const answer = ({ of: credential, ...response }) =>
    JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      clientExtensionResults: credential.getClientExtensionResults(),
      response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
    });

  const why = (error, words) =>
    error.name === "InvalidStateError" ? words.wordKnown : words.wordNone;

  for (const form of document.querySelectorAll("[data-key-make], [data-key-use]")) {
    const button = form.querySelector("[data-key-button]");
    const problem = form.querySelector("[data-key-problem]");
    const words = form.dataset; // the sentences are the page's, in its language
    if (!window.PublicKeyCredential) {
      problem.textContent = words.wordUnable;
      continue;
    }
    if (problem.textContent.trim() === words.wordScript) problem.textContent = "";
    button.disabled = false;
    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      const { keyMake, keyUse } = form.dataset;
      button.disabled = true;
      problem.textContent = "";
      try {
        const options = JSON.parse(keyMake || keyUse).publicKey;
        form.elements.credential.value = answer(await (keyMake ? make(options) : use(options)));
        form.submit();
      } catch (error) {
        problem.textContent = why(error, words);
        button.disabled = false;
      }
    });
  }
})();
