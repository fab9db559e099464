/**
 * The banner over every page once this node was found to contradict itself: what happened, and both signed notes to save.
 *
 * It stays, from page to page, until the reader puts it away.
 */

import { make, saving } from './dom.mjs';

/**
 * @param {import('./context.mjs').Context} context
 * @param {import('./pins.mjs').Alarm & {report?: string | null}} alarm
 */
export function showAlarm({ t, pins }, alarm) {
  document.querySelector('.alarm')?.remove();
  const away = () => {
    pins.putAway();
    banner.remove();
  };
  const banner = make(
    'section',
    { class: 'alarm', role: 'alert', 'data-relation': alarm.relation },
    make('p', { class: 'alarm-head' }, t(`alarm.${alarm.relation}`)),
    make('p', {}, `${t('alarm.at', { at: alarm.at })} ${t('alarm.do')}`, alarm.what ? ` (${alarm.what})` : ''),
    make(
      'p',
      { class: 'alarm-files' },
      saving(t('alarm.older'), 'older.note', alarm.older),
      saving(t('alarm.newer'), 'newer.note', alarm.newer),
      alarm.report ? saving(t('alarm.report'), 'fork', alarm.report) : null,
      make('button', { type: 'button', onclick: away }, t('alarm.away')),
    ),
    make('details', {}, make('summary', {}, t('alarm.notes')), make('pre', { tabindex: 0 }, alarm.older), make('pre', { tabindex: 0 }, alarm.newer)),
  );
  const main = document.querySelector('main');
  (main ?? document.body).prepend(banner);
}

/**
 * Keep an alarm and show it.
 *
 * @param {import('./context.mjs').Context} context
 * @param {string} relation
 * @param {string} what
 * @param {string} older
 * @param {string} newer
 * @param {string | null} [report]
 */
export function raise(context, relation, what, older, newer, report = null) {
  const alarm = { relation, what, older, newer, report: report ?? '', at: new Date().toISOString() };
  // What the policy refuses nobody answers for with a signature: it is told while it lasts.
  if (relation !== 'refused') context.pins.raise(alarm);
  showAlarm(context, context.pins.alarm ?? alarm);
}
