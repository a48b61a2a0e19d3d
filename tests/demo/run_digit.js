// Center or shrink drawings in Node: node run_digit.js DIGIT_JS TASKS
// TASKS is a JSON list of {how, ink, width, height, picture}; the output is the list of images.
"use strict";
const fs = require("node:fs");
const digit = require(process.argv[2]);

const tasks = JSON.parse(fs.readFileSync(process.argv[3], "utf8"));
const pictures = tasks.map(({ how, ink, width, height, picture }) =>
  Array.from(digit[how](Float32Array.from(ink), width, height, picture)),
);
console.log(JSON.stringify(pictures));
