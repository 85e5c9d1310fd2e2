exports.up = (query, {INTEGER, STRING, DATE}) => query.createTable('Users', {
  id: {type: INTEGER, primaryKey: true, autoIncrement: true},
  login: {type: STRING, unique: true},
  salt: STRING,
  password: STRING,
  createdAt: DATE,
  updatedAt: DATE,
});
