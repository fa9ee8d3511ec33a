// What makes the sandbox's pages change in place. Without this file everything
// works as well, one page load at a time.
(() => {
  'use strict';

  // Trusted Types: htmx is the only one to make HTML out of text, and nobody
  // makes code. Without it the page's policy stops htmx's first swap.
  const noCode = () => { throw new Error('code from text is switched off'); };
  htmx.registerExtension('trusted-types', {
    init: (api) => api.initSecurity(
      window.trustedTypes?.createPolicy('htmx', { createHTML: (s) => s, createScript: () => '' }),
      noCode, noCode,
    ),
  });

  // Live: the page says whether it hears of new calls. Without it nobody knows
  // whether to wait or to load the page again.
  const live = (text) => {
    const place = document.getElementById('live');
    if (place && place.textContent !== text) place.textContent = text;
  };
  document.addEventListener('htmx:sse:after:connection', () => live('New ones appear by themselves.'));
  document.addEventListener('htmx:sse:error', () => live('The sandbox does not answer; this page keeps trying.'));

  // No answer at all. Without it a click while the sandbox is away does nothing.
  document.addEventListener('htmx:error', ({ detail: { ctx } }) => {
    const place = document.querySelector('#main [role=alert]');
    if (place && ctx && !ctx.response) place.textContent = 'The sandbox does not answer. Is it running?';
  });

  // Trim: the page shows as many calls as the server remembers. Without it a
  // page that stays open for days grows for days.
  document.addEventListener('htmx:sse:after:message', () => {
    for (const old of document.querySelectorAll('#calls > li:nth-child(n+201)')) old.remove();
  });

  // Focus: when the button that was pressed is gone, the focus belongs on the
  // one in its place. Without it a keyboard starts again at the top.
  let held;
  document.addEventListener('htmx:before:swap', () => { held = document.activeElement.closest('[id]')?.id; });
  document.addEventListener('htmx:before:settle', () => {
    if (!held || document.activeElement !== document.body) return;
    const main = document.getElementById('main');
    const place = held === 'main' ? null : document.getElementById(held)?.querySelector('button');
    (place ?? main).focus({ preventScroll: true });
  });
})();
