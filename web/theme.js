// The colours, before anything is drawn: as the system says, unless somebody chose.
'use strict';
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem('folkmoot:theme'); } catch { /* no storage: as the system */ }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
