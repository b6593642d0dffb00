(() => {
  const button = document.getElementById("with-passkey");
  if (!button) return;
  const says = document.getElementById("passkey-says");
  const refuse = text => { says.textContent = text; };
  button.addEventListener("click", async () => {
    const form = button.form;
    const username = form.elements.username.value.trim();
    if (!username || !form.elements.password.value) return refuse(button.dataset.first);
    if (!window.PublicKeyCredential) return refuse(button.dataset.without);
    refuse("");
    try {
      const asked = await fetch("/api/v1/session/passkey", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({username}),
      });
      if (!asked.ok) return refuse((await asked.json()).detail || button.dataset.unasked);
      const options = PublicKeyCredential.parseRequestOptionsFromJSON(await asked.json());
      const answer = await navigator.credentials.get({publicKey: options});
      const field = form.elements.passkey;
      field.value = JSON.stringify(answer.toJSON());
      field.disabled = false;
      form.submit();
    } catch (error) {
      refuse(`${button.dataset.failed} ${error.message}`);
    }
  });
})();
