exports.up = (query, {INTEGER, STRING, DATE}) => query.createTable('Photos', {
  id: {type: INTEGER, primaryKey: true, autoIncrement: true},
  title: STRING,
  file: STRING,
  createdAt: DATE,
  updatedAt: DATE,
});
