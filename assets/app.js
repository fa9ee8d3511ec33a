// What makes Perch's header change in place. Without this file everything
// works as well, one page load at a time.
(() => {
  'use strict';

  const header = () => document.getElementById('header');
  const notices = () => document.getElementById('notices');

  // Trusted Types: htmx is the only one to make HTML out of text, and nobody
  // makes code. Without it the page's policy stops htmx's first swap.
  const noCode = () => { throw new Error('code from text is switched off'); };
  htmx.registerExtension('trusted-types', {
    init: (api) => api.initSecurity(
      window.trustedTypes?.createPolicy('htmx', { createHTML: (s) => s, createScript: () => '' }),
      noCode, noCode,
    ),
  });

  // Say it: put a sentence of our own where the server's notices stand.
  // Without it a failure in the background of a click would go unseen.
  let said = 0;
  const say = (text) => {
    const notice = document.createElement('p');
    notice.id = `notice-here-${++said}`;
    notice.className = 'notice problem';
    const words = document.createElement('span');
    words.textContent = text;
    const dismiss = document.createElement('a');
    dismiss.className = 'dismiss';
    dismiss.href = location.href;
    dismiss.setAttribute('aria-label', 'Dismiss this notice');
    dismiss.textContent = '×';
    notice.append(words, dismiss);
    notices()?.replaceChildren(notice);
  };

  // Only what a person asked for speaks up; what the page fetches by itself
  // may fail in silence.
  const asked = (ctx) => ctx?.request?.method === 'POST';

  // Answers that are not ours: a proxy's error or a captive portal's page has
  // no header. Without this guard it would replace the real one.
  document.addEventListener('htmx:before:swap', (event) => {
    const { ctx, tasks } = event.detail;
    const main = tasks.find((task) => task.type === 'main');
    const target = typeof main?.target === 'string' ? document.querySelector(main.target) : main?.target;
    if (!target?.closest('#header') || main.fragment.querySelector('#header, #notices')) return;
    event.preventDefault();
    if (asked(ctx)) say(`Something between here and the server went wrong (${ctx.response.status}). Please try again.`);
  });

  // No answer at all. Without it a click while the server is away does nothing.
  document.addEventListener('htmx:error', (event) => {
    const { ctx } = event.detail;
    if (!ctx?.response && asked(ctx)) say('The server cannot be reached. Please try again.');
  });

  // Focus: when the control that was pressed is gone, the focus belongs on the
  // one in its place. Without it a keyboard starts again at the top.
  let held = false;
  document.addEventListener('htmx:before:swap', () => {
    held = header().contains(document.activeElement);
  });
  document.addEventListener('htmx:before:settle', () => {
    if (held && document.activeElement === document.body) {
      header().querySelector('#sign-in, #sign-out button')?.focus();
    }
  });

  // Dismiss: take the notice away in place. Without it the link loads the page
  // again, and what was typed there is gone.
  document.addEventListener('click', (event) => {
    const dismiss = event.target.closest('.dismiss');
    if (!dismiss) return;
    event.preventDefault();
    dismiss.closest('.notice').remove();
    document.getElementById('main').focus();
  });

  // Back: a page out of the browser's memory greets whoever was signed in when
  // it was left. Without it the greeting would be over, but still there.
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) {
      htmx.ajax('GET', '/header?quiet=1', { source: '#header', target: '#header', swap: 'outerMorph' });
    }
  });
})();
