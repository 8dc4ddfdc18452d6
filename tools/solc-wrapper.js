#!/usr/bin/env node
// A native-solc look-alike over npm's emscripten build, for machines that cannot download native solc.
// Answers the three calls that py-solc-x (Ape), forge and slither make: --version, and --standard-json
// from stdin with --base-path / --include-path. Run through a link named solc-v<version>.
'use strict';
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const root = path.resolve(path.dirname(fs.realpathSync(__filename)), '..');
const fromRoot = createRequire(path.join(root, 'package.json'));

function fail(message) {
  process.stderr.write(`solc-wrapper: ${message}\n`);
  process.exit(1);
}

function packageFolder() {
  try {
    return path.dirname(fromRoot.resolve('solc/package.json'));
  } catch (_) {
    return fail('the npm package solc is not installed: run make setup');
  }
}

const folder = packageFolder();
const installed = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).version;
const wanted = /solc-v(\d+\.\d+\.\d+)/.exec(path.basename(process.argv[1]));
if (wanted && wanted[1] !== installed) fail(`solc ${wanted[1]} is wanted, npm installed ${installed}`);

function loadCompiler() {
  const compiler = require(folder);
  process.removeAllListeners('uncaughtException'); // emscripten's handler hides our own errors
  return compiler;
}

// Loading the compiler takes 0.4 s and callers ask for its version at every start, so remember it.
function longVersion() {
  const cache = path.join(folder, '.long-version');
  if (fs.existsSync(cache)) return fs.readFileSync(cache, 'utf8');
  const version = loadCompiler().version().replace('.Emscripten.clang', '');
  const temporary = `${cache}.${process.pid}`;
  fs.writeFileSync(temporary, version);
  fs.renameSync(temporary, cache);
  return version;
}

function parseArguments(argv) {
  const options = { bases: [process.cwd()], includes: [] };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--version') options.version = true;
    else if (argv[i] === '--standard-json') options.standardJson = true;
    else if (argv[i] === '--base-path') options.bases = [argv[++i]];
    else if (argv[i] === '--include-path') options.includes.push(argv[++i]);
    else if (argv[i] === '--allow-paths') i++;
    else fail(`unrecognised option '${argv[i]}'`);
  }
  return options;
}

function readImport(options, name) {
  const candidates = path.isAbsolute(name)
    ? [name]
    : [...options.bases, ...options.includes].map((base) => path.join(base, name));
  const found = candidates.find((candidate) => fs.existsSync(candidate));
  return found ? { contents: fs.readFileSync(found, 'utf8') } : { error: `File not found: ${name}` };
}

function writeAll(buffer) {
  for (let offset = 0; offset < buffer.length; ) {
    try {
      offset += fs.writeSync(1, buffer, offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error; // a full pipe: try again
    }
  }
}

const options = parseArguments(process.argv.slice(2));
if (options.version) {
  writeAll(Buffer.from(`solc, the solidity compiler commandline interface\nVersion: ${longVersion()}.Linux.g++\n`));
} else if (options.standardJson) {
  const input = fs.readFileSync(0, 'utf8');
  writeAll(Buffer.from(`${loadCompiler().compile(input, { import: (name) => readImport(options, name) })}\n`));
} else {
  fail('only --version and --standard-json are supported');
}
process.exit(0);
