// The page that a sign-in in a popup ends on. Without this file its link leads
// on, in the popup.
(() => {
  'use strict';

  // Tell the page that opened us, and close once it has heard. When it does
  // not answer, it is gone: go on here. Without it the popup stays open.
  const { popup, next } = document.getElementById('popup').dataset;
  const tabs = new BroadcastChannel('perch');
  const alone = setTimeout(() => location.replace(next), 1000);
  tabs.addEventListener('message', ({ data }) => {
    if (data.seen !== popup) return;
    clearTimeout(alone);
    window.close();
  });
  tabs.postMessage({ popup });
})();
