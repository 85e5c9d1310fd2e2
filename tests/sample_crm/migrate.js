// node migrate.js migrations|seeders: what of that folder is not done yet, in order.
const Umzug = require('umzug');
const {database} = require('./database');

const folder = process.argv[2];
const modelName = {migrations: 'SequelizeMeta', seeders: 'SequelizeData'}[folder];

new Umzug({
  logging: console.log,
  migrations: {path: folder, params: [database.getQueryInterface(), database.constructor]},
  storage: 'sequelize',
  storageOptions: {sequelize: database, modelName},
}).up().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
