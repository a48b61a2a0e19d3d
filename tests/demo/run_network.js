// Run the forward pass of demo pages in Node: node run_network.js INPUTS PAGE...
// INPUTS is a JSON list of images, each a list of raw values; the output is a list per page with
// the hidden activations and probabilities of each image.
"use strict";
const fs = require("node:fs");

const [inputs, ...pages] = process.argv.slice(2).map((path) => fs.readFileSync(path, "utf8"));

function run(page) {
  const element = (id) => page.match(new RegExp(`id="${id}">([^<]*)</script>`))[1];
  const code = page.match(/<script>("use strict";[^]*?mlpkitForward[^]*?)<\/script>/)[1];
  const forward = new Function(`${code}\nreturn mlpkitForward;`)();
  const weights = forward.floats(element("weights"));
  const model = forward.withWeights(JSON.parse(element("description")), weights);
  return JSON.parse(inputs).map((pixels) => {
    const { layers, probabilities } = forward.run(model, pixels);
    return {
      hidden: layers.map((layer) => Array.from(layer.output)),
      probabilities: Array.from(probabilities),
    };
  });
}

console.log(JSON.stringify(pages.map(run)));
