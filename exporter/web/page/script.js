// Keeps the page as the exporter sees things: ages tick here, all else is rendered by the server and put in its place.
const POLL = 10_000;
const RETRY = 60_000;
const body = document.body;
const list = document.getElementById('targets');
const live = document.getElementById('live');
const html = window.trustedTypes?.createPolicy('fragments', {createHTML: (text) => text}) ?? {createHTML: (text) => text};

let position = body.dataset.position;
let ahead = Number(body.dataset.now) - performance.now() / 1000;
let source = null;
let timer = null;
let turn = 0;

// Ages -------------------------------------------------------------------------------------------------------------

const two = (great, unit, small, part) => small ? `${great} ${unit} ${small} ${part}` : `${great} ${unit}`;

function age(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 36000) return two(Math.floor(whole / 3600), 'h', Math.floor(whole % 3600 / 60), 'min');
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400).toLocaleString('en')} days`;
}

function tick() {
  const now = ahead + performance.now() / 1000;
  for (const element of document.querySelectorAll('.age')) {
    const words = age(now - Number(element.dataset.at));
    if (element.firstChild.data !== words) element.firstChild.data = words;
  }
}

// Fragments --------------------------------------------------------------------------------------------------------

function parsed(text) {
  const template = document.createElement('template');
  template.innerHTML = html.createHTML(text);
  return template.content.firstElementChild;
}

const steps = (element) => [...element.querySelectorAll('summary, a')];

function put(old, fresh) {
  const step = steps(old).indexOf(document.activeElement);
  old.replaceWith(fresh);
  if (step >= 0) steps(fresh)[step]?.focus({preventScroll: true});
}

function selecting(element) {
  const selection = getSelection();
  return !selection.isCollapsed && element.contains(selection.anchorNode);
}

const opened = (article) => article.querySelector('details').open;
const isFull = (article) => article.querySelector('.parts') !== null;

function replace(id, text) {
  const old = document.getElementById(id);
  const fresh = parsed(text);
  if (!old) {
    if (!('only' in list.dataset)) list.append(fresh);
    return;
  }
  if (selecting(old)) return;
  if ('target' in fresh.dataset && old.dataset.state === fresh.dataset.state) keep(old, fresh);
  put(old, fresh);
}

function keep(old, fresh) {
  fresh.querySelector('details').open = opened(old);
  for (const part of fresh.querySelectorAll('.transcript')) part.open = old.querySelector('.transcript')?.open ?? false;
  if (opened(old) && isFull(old) && !isFull(fresh)) {
    fresh.querySelector('.body').replaceWith(old.querySelector('.body'));
    complete(fresh);
  }
}

async function complete(article) {
  const answer = await fetch(`api/fragment?target=${encodeURIComponent(article.dataset.target)}`).catch(() => null);
  if (!answer?.ok) return;
  const fresh = parsed(await answer.text());
  const there = document.getElementById(fresh.id);
  if (!there || !opened(there) || selecting(there)) return;
  keep(there, fresh);
  put(there, fresh);
}

function arrange(order) {
  if ('only' in list.dataset) return;
  const focused = document.activeElement;
  let next = list.firstElementChild;
  for (const id of order) {
    const element = document.getElementById(id);
    if (element === next) next = next.nextElementSibling;
    else if (element) list.insertBefore(element, next);
  }
  while (next) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
  if (focused !== document.activeElement) focused.focus({preventScroll: true});
}

function apply(update) {
  position = update.position;
  ahead = update.now - performance.now() / 1000;
  for (const [id, text] of Object.entries(update.fragments)) replace(id, text);
  if (update.order) arrange(update.order);
  if (update.title) {
    document.title = update.title;
    document.getElementById('icon').href = update.icon;
    document.getElementById('spoken').textContent = update.spoken;
  }
  tick();
}

// The way to the exporter ------------------------------------------------------------------------------------------

function say(words, state) {
  live.textContent = words;
  live.className = state;
}

function lost() {
  if (live.className === 'off') return;
  const at = new Date((ahead + performance.now() / 1000) * 1000).toISOString().slice(11, 19);
  say(`no answer since ${at} UTC`, 'off');
  document.title = `? ${document.title.replace(/^\? /, '')}`;
}

const events = () => `api/events?since=${encodeURIComponent(position)}`;

function stream() {
  stop();
  source = new EventSource(events());
  source.onopen = () => { say('live', 'on'); document.title = document.title.replace(/^\? /, ''); };
  source.onmessage = (event) => apply(JSON.parse(event.data));
  source.addEventListener('anew', anew);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) poll(RETRY);
    else lost();
  };
}

// Who gets no stream, and who is not looked at, asks now and then.
async function poll(until = Infinity) {
  const mine = stop();
  try {
    const answer = await fetch(events(), {headers: {accept: 'application/json'}});
    if (answer.status === 409) return void anew();
    if (!answer.ok) throw new Error(answer.status);
    const update = await answer.json();
    if (mine !== turn) return;
    apply(update);
    say(`asks every ${POLL / 1000} s`, 'on');
    document.title = document.title.replace(/^\? /, '');
  } catch {
    if (mine !== turn) return;
    lost();
  }
  timer = setTimeout(() => until <= 0 ? stream() : poll(until - POLL), POLL);
}

// The exporter was replaced by one that renders otherwise. Not at once: two of them may answer by turns.
function anew() {
  stop();
  setTimeout(() => location.reload(), 2000);
}

// Whoever has begun before is overtaken: it must not go on.
function stop() {
  source?.close();
  source = null;
  clearTimeout(timer);
  return ++turn;
}

list.addEventListener('toggle', (event) => {
  const article = event.target.closest('.target');
  if (event.target.open && article && !isFull(article)) complete(article);
}, true);
document.addEventListener('visibilitychange', () => document.hidden ? poll() : stream());
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
setInterval(tick, 1000);
stream();
