const crypto = require('crypto');

exports.random = () => crypto.randomBytes(16).toString('hex');
exports.hash = (password, salt) => crypto.scryptSync(password, salt, 32).toString('hex');
