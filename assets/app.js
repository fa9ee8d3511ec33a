// What makes Perch's header change in place. Without this file everything
// works as well, one page load at a time.
(() => {
  'use strict';

  const header = () => document.getElementById('header');
  const user = () => header().dataset.user;
  const control = () => header().querySelector('#sign-in, #sign-out button');

  // Trusted Types: htmx is the only one to make HTML out of text, and nobody
  // makes code. Without it the page's policy stops htmx's first swap.
  const noCode = () => { throw new Error('code from text is switched off'); };
  htmx.registerExtension('trusted-types', {
    init: (api) => api.initSecurity(
      window.trustedTypes?.createPolicy('htmx', { createHTML: (s) => s, createScript: () => '' }),
      noCode, noCode,
    ),
  });

  // Refresh: fetch the header again. A quiet one leaves the notices to the
  // page they are meant for; after a loud one that has not come back, there is
  // none. Without it nothing below keeps a page true.
  let loud = false;
  const refresh = (quiet) => {
    loud ||= !quiet;
    htmx.ajax('GET', loud ? '/header' : '/header?quiet=1', { source: '#header', target: '#header', swap: 'outerMorph', quiet: !loud });
  };

  // Say it: put a sentence of our own where the server's notices stand.
  // Without it a click that failed would look like no click at all.
  let said = 0;
  const say = (text) => {
    const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
    const dismiss = make('a', { className: 'dismiss', href: location.href, textContent: '×', ariaLabel: 'Dismiss this notice' });
    const notice = make('p', { id: `notice-here-${++said}`, className: 'notice problem' });
    notice.append(make('span', { textContent: text }), dismiss);
    document.getElementById('notices').replaceChildren(notice);
  };

  // Answers that are not ours: a proxy's error or a captive portal's page has
  // not what it is to replace. Without this guard it would replace it. What the
  // page fetches by itself fails in silence; what a person asked for speaks up.
  let held = false;
  document.addEventListener('htmx:before:swap', (event) => {
    const { ctx, tasks } = event.detail;
    const main = tasks.find((task) => task.type === 'main');
    const target = typeof main?.target === 'string' ? document.querySelector(main.target) : main?.target;
    if (!target?.id) return;
    const fresh = main.fragment.querySelector(`#${target.id}, #notices`);
    if (!fresh || (ctx.quiet && fresh.id !== 'header')) {
      event.preventDefault();
      if (!ctx.quiet) say(`Something between here and the server went wrong (${ctx.response.status}). Please try again.`);
      return;
    }
    held = header().contains(document.activeElement);
    loud &&= ctx.quiet;
    // Notices: a quiet answer has none. Without this it would take away what
    // stands there unread.
    if (ctx.quiet && fresh.dataset.user === user()) {
      fresh.querySelector('#notices').replaceChildren(...document.getElementById('notices').cloneNode(true).childNodes);
    }
  });

  // No answer at all. Without it a click while the server is away does nothing.
  document.addEventListener('htmx:error', ({ detail: { ctx } }) => {
    if (ctx && !ctx.response && !ctx.quiet) say('The server cannot be reached. Please try again.');
  });

  // Focus: when the control that was pressed is gone, the focus belongs on the
  // one in its place. Without it a keyboard starts again at the top.
  document.addEventListener('htmx:before:settle', () => {
    if (held && document.activeElement === document.body) control()?.focus();
  });

  // Dismiss: take the notice away in place, and scroll nowhere. Without it the
  // link loads the page again, and what was typed there is gone.
  document.addEventListener('click', (event) => {
    const dismiss = event.target.closest('.dismiss');
    if (!dismiss) return;
    event.preventDefault();
    dismiss.closest('.notice').remove();
    document.getElementById('main').focus({ preventScroll: true });
  });

  // Dialog: a question before something final opens over the page. Without it
  // the link leads to a page that asks.
  document.addEventListener('htmx:after:settle', ({ target }) => {
    if (target.matches('dialog') && !target.open) target.showModal();
  });
  document.addEventListener('click', (event) => {
    const dialog = event.target.closest('.keep')?.closest('dialog');
    if (!dialog) return;
    event.preventDefault();
    dialog.close();
  });

  // Tabs: every page announces who it greets, and one that greets somebody
  // else asks the server. Without it another tab's greeting outlives its
  // session. It is the state that is told, not an event, so it cannot loop.
  const tabs = new BroadcastChannel('perch');
  const announce = () => tabs.postMessage({ user: user() });
  let waiting;
  const check = () => {
    clearTimeout(waiting);
    if (document.hidden) refresh(true); // a hidden tab's timers sleep
    else waiting = setTimeout(refresh, 30, true);
  };
  document.addEventListener('htmx:before:settle', announce);
  announce();

  // Back, and tabs that slept: a page out of the browser's memory greets
  // whoever was there when it was left. Without it that greeting stays.
  window.addEventListener('pageshow', (event) => event.persisted && check());
  document.addEventListener('visibilitychange', () => document.hidden || check());

  // Popup: with a mouse and room, the sign-in opens beside the page, which
  // keeps its text, caret and scroll. Without it, or when the browser blocks
  // it, the link is followed. The two meet by an id on the channel: after a
  // visit to another site, opener and closed cannot be trusted.
  const opened = new Set();
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="/login?"]');
    const modified = event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
    if (!link || modified || !matchMedia('(pointer: fine) and (min-width: 48rem)').matches) return;
    const id = crypto.randomUUID();
    if (!window.open(`${link.href}&popup=${id}`, 'sign-in', 'popup,width=600,height=700')) return;
    opened.add(id);
    event.preventDefault();
  });

  tabs.addEventListener('message', ({ data }) => {
    if (opened.delete(data.popup)) {
      tabs.postMessage({ seen: data.popup });
      refresh(false);
    } else if ('user' in data && data.user !== user()) {
      check();
    }
  });
})();
