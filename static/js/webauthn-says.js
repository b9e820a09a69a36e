// allauth's script only logs why a key was not accepted; the reader should be told.
document.addEventListener("allauth.error", ({ detail }) => {
  const name = detail.exception?.name;
  const text = name === "NotAllowedError" ? "The key was not used: it was cancelled, or it took too long. Try again."
    : name === "InvalidStateError" ? "This key is registered already."
    : name === "SecurityError" ? "Keys work on this address only over HTTPS (or on localhost)."
    : "The key could not be used. Try again, or sign in another way.";
  window.daytwo?.toast(text, "bad");
});
