// Sessions in the database, so that every host of the service knows them.
const {Store} = require('express-session');
const {Session} = require('./database');

const LIFETIME = 4 * 60 * 60 * 1000;

module.exports = class Sessions extends Store {
  get(sid, done) {
    Session.findOne({where: {sid, expires: {$gt: new Date()}}})
      .then((found) => done(null, found && JSON.parse(found.data)), done);
  }

  set(sid, session, done) {
    Session.upsert({sid, expires: new Date(Date.now() + LIFETIME), data: JSON.stringify(session)})
      .then(() => done(), done);
  }

  destroy(sid, done) {
    Session.destroy({where: {sid}}).then(() => done(), done);
  }
};
