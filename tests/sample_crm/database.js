// The database, by the one address that there is: DATABASE_URL.
const Sequelize = require('sequelize');

const database = new Sequelize(process.env.DATABASE_URL, {logging: false});
const {STRING, TEXT, DATE} = Sequelize;

exports.database = database;
exports.User = database.define('User', {login: STRING, salt: STRING, password: STRING});
exports.Photo = database.define('Photo', {title: STRING, file: STRING});
exports.Session = database.define('Session', {
  sid: {type: STRING, primaryKey: true}, expires: DATE, data: TEXT,
});
