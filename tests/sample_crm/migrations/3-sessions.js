exports.up = (query, {STRING, TEXT, DATE}) => query.createTable('Sessions', {
  sid: {type: STRING, primaryKey: true},
  expires: DATE,
  data: TEXT,
  createdAt: DATE,
  updatedAt: DATE,
});
