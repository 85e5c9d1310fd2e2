// Managed by Salt (salt/node). NODE_OPTIONS loads this before the application.
//
// A file or a directory that the application removes from the volume is renamed into the directory
// `held` of the volume, so that it can be restored together with an earlier state of the database.
// If that fails, the application gets the error as if the removal had failed, and the file stays.
// A file that the application overwrites is not covered, nor one that another program removes.
//
// It runs on Node 8 to 22, so it has no newer syntax.
'use strict';
const fs = require('fs');
const path = require('path');
const { promisify } = require('util');

const data = process.env.SALINA_DATA;
const held = process.env.SALINA_HELD;
// An earlier removal of the same second has the place: the next second is tried.
const TAKEN = ['EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY'];
const SECONDS = 60;

const asked = {};
const promised = {};
for (const name of ['lstat', 'mkdir', 'realpath', 'rename']) {
  asked[name] = fs[`${name}Sync`];
  promised[name] = promisify(fs[name]);
}

function resolved(place) {
  let text = place;
  try {
    if (place instanceof Uint8Array) text = Buffer.from(place).toString();
    else if (place && place.protocol === 'file:') text = decodeURIComponent(place.pathname);
    return typeof text === 'string' && text && !text.includes('\0') ? path.resolve(text) : null;
  } catch (error) {
    return null; // the original function reports it
  }
}

// The steps of a removal. Each `yield` names a function of fs with its arguments and gets its
// answer, so the same steps serve functions that wait and functions that do not. The result tells
// whether the file is held. If it is not, the original function does its work.
function* hold(place, files, directories) {
  let root = data;
  try {
    root = yield ['realpath', data];
  } catch (error) {
    // The path as it was given is the best that is known.
  }
  let source;
  try {
    source = path.join(yield ['realpath', path.dirname(place)], path.basename(place));
    const inside = path.relative(root, source);
    const [first] = inside.split(path.sep);
    if (!inside || first === '..' || path.join(data, first) === held) return false;
    const stats = yield ['lstat', source];
    if (!(files && stats.isFile()) && !(directories && stats.isDirectory())) return false;
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
    throw error; // the original function might succeed a moment later, and remove the file
  }
  for (let seconds = 0; ; seconds += 1) {
    const moment = new Date(Date.now() + seconds * 1000).toISOString();
    const stamp = `${moment.slice(0, 19).replace(/[-:]/g, '')}Z`;
    const target = path.join(held, stamp, path.relative(root, source));
    try {
      yield* make(path.dirname(target));
      yield* absent(target);
      yield ['rename', source, target];
      return true;
    } catch (error) {
      if (!TAKEN.includes(error.code) || seconds === SECONDS) throw error;
    }
  }
}

// `mkdir` of Node 8 makes no parents.
function* make(directory) {
  try {
    yield ['mkdir', directory];
  } catch (error) {
    if (error.code === 'EEXIST') return;
    if (error.code !== 'ENOENT') throw error;
    yield* make(path.dirname(directory));
    yield* make(directory);
  }
}

function* absent(target) {
  try {
    yield ['lstat', target];
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  throw Object.assign(new Error(`${target} exists`), { code: 'EEXIST' });
}

function atOnce(steps) {
  let step = steps.next();
  while (!step.done) {
    const [name, ...given] = step.value;
    let answer;
    try {
      answer = asked[name](...given);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}

async function inTurn(steps) {
  let step = steps.next();
  while (!step.done) {
    const [name, ...given] = step.value;
    let answer;
    try {
      answer = await promised[name](...given);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}

function wrap(name, files) {
  const sync = fs[`${name}Sync`];
  const later = fs[name];
  const promise = fs.promises && fs.promises[name];
  const steps = (place, options) => hold(place, files, Boolean(options && options.recursive));
  if (sync) {
    fs[`${name}Sync`] = function (given, ...rest) {
      const place = resolved(given);
      if (place === null || !atOnce(steps(place, rest[0]))) sync.call(this, given, ...rest);
    };
  }
  if (later) {
    fs[name] = function (given, ...rest) {
      const place = resolved(given);
      const callback = rest[rest.length - 1];
      if (place === null || typeof callback !== 'function') {
        return later.call(this, given, ...rest);
      }
      // process.nextTick: an error of the callback is not one of the promise.
      inTurn(steps(place, rest[0])).then(
        (done) => process.nextTick(() => {
          if (done) callback(null);
          else later.call(this, given, ...rest);
        }),
        (error) => process.nextTick(callback, error)
      );
    };
  }
  if (promise) {
    fs.promises[name] = async function (given, ...rest) {
      const place = resolved(given);
      if (place === null || !(await inTurn(steps(place, rest[0])))) {
        return promise.call(this, given, ...rest);
      }
    };
  }
}

if (data && held) {
  wrap('unlink', true);
  wrap('rm', true);
  const version = Number(process.versions.node.split('.')[0]);
  if (version >= 12 && version < 24) wrap('rmdir', false); // others have no `recursive` there
  // Modules with `import {unlink} from 'fs'` get the new functions as well.
  const { syncBuiltinESMExports } = require('module');
  if (syncBuiltinESMExports) syncBuiltinESMExports();
}
