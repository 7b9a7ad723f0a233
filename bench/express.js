// Express, the stack of the public sandbox's services: the body is parsed, one rule looks at it, nothing is checked.
// Arguments: the folder that holds node_modules, and the port.
const express = require(require.resolve('express', { paths: [process.argv[2]] }));

const LOINC = 'http://loinc.org';
const HEMATOCRIT = '4544-3';
const LIMIT = 54;
const CARD = {
  summary: 'Hematocrit at or above 54 %',
  indicator: 'warning',
  source: { label: 'Baseline' },
  detail: 'This service looks for one result and checks nothing else of the request.',
};

function newestHematocrit(prefetch) {
  let newest = '';
  let value = 0;
  for (const bundle of Object.values(prefetch)) {
    for (const { resource } of bundle.entry || []) {
      if (resource.resourceType !== 'Observation' || resource.status !== 'final') continue;
      for (const coding of resource.code.coding) {
        if (coding.code === HEMATOCRIT && coding.system === LOINC && resource.effectiveDateTime > newest) {
          newest = resource.effectiveDateTime;
          value = resource.valueQuantity.value;
        }
      }
    }
  }
  return value;
}

const app = express();
app.use(express.json({ limit: '32mb' }));
app.post('/cds-services/:id', (request, response) => {
  response.json({ cards: newestHematocrit(request.body.prefetch) >= LIMIT ? [CARD] : [] });
});
app.listen(Number(process.argv[3]), '127.0.0.1');
