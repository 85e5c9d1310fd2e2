// Managed by Salt (salt/node). NODE_OPTIONS loads this before the application.
//
// pg 6 and older (https://github.com/brianc/node-postgres) never answer a query that waits for a
// connection when that ends, nor one that is given to it later, such as the ROLLBACK of a transaction
// whose primary died. The request then hangs until the proxy's timeout. Here such a query fails at
// once. Newer versions do the same by themselves, and stay as they are.
//
// It runs on Node 8 to 22, so it has no newer syntax.
'use strict';
const Module = require('module');

const load = Module._load;
const ended = new WeakSet();
const known = new WeakSet();

function fail(client) {
  for (const query of client.queryQueue.splice(0)) {
    process.nextTick(() => {
      query.isPreparedStatement = false; // pg would send something to the connection
      query.handleError(new Error('Connection terminated'), client.connection);
    });
  }
}

function patch(prototype) {
  const connect = prototype.connect;
  const pulse = prototype._pulseQueryQueue;
  prototype.connect = function (...given) {
    this.connection.once('end', () => {
      ended.add(this);
      fail(this);
    });
    return connect.apply(this, given);
  };
  prototype._pulseQueryQueue = function (...given) {
    if (ended.has(this)) fail(this);
    else pulse.apply(this, given);
  };
}

Module._load = function (request, ...given) {
  const loaded = load.call(this, request, ...given);
  if (request === 'pg' && loaded && typeof loaded.Client === 'function') {
    const prototype = loaded.Client.prototype;
    if (!known.has(prototype) && prototype._pulseQueryQueue && !prototype._errorAllQueries) {
      known.add(prototype);
      patch(prototype);
    }
  }
  return loaded;
};
