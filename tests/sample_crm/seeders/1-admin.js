// The first user; the password comes from whoever deploys.
const {hash, random} = require('../password');

exports.up = (query) => {
  const [salt, now] = [random(), new Date()];
  const password = hash(process.env.LOGIN_PASSWORD, salt);
  const user = {login: 'admin', salt, password, createdAt: now, updatedAt: now};
  return query.bulkInsert('Users', [user]);
};
