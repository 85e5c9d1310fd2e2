// A small CRM: a login, and photos of customers that every host shows.
const crypto = require('crypto');
const fs = require('fs');
const express = require('express');
const session = require('express-session');
const upload = require('multer')({dest: 'uploads', limits: {fileSize: 20 * 1024 * 1024}});
const {database, User, Photo} = require('./database');
const {hash, random} = require('./password');
const Sessions = require('./sessions');

const app = express();
const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const page = (body) => `<!doctype html><title>Sample CRM</title>
<link rel="stylesheet" href="/style.css"><h1>Sample CRM</h1>${body}`;

// Before the sessions: whoever asks this gets none.
app.get('/health', (request, response) => database.query('SELECT 1').then(
  () => response.send('pass'), () => response.status(503).send('no database')
));
// Every other request has a line with the id that the balancer gave it.
app.use((request, response, next) => {
  const {method, path} = request;
  const id = request.get('X-Request-ID') || '-';
  response.on('finish', () => console.log(`${method} ${path} ${response.statusCode} ${id}`));
  next();
});
app.use(express.static('public'));

// One secret for all hosts, and nobody else's.
const secret = crypto.createHmac('sha256', process.env.DATABASE_URL).update('sessions');
app.use(session({
  secret: secret.digest('hex'), store: new Sessions(), resave: false, saveUninitialized: false,
}));

app.get('/login', (request, response) => response.send(page(
  '<form method="post"><input name="login"><input name="password" type="password"><button>Log in'
)));
app.post('/login', express.urlencoded({extended: false}), (request, response, next) => {
  const {login = '', password = ''} = request.body;
  User.findOne({where: {login: String(login)}}).then((user) => {
    if (!user || hash(String(password), user.salt) !== user.password) {
      return response.status(403).send(page('<p>Wrong login or password.'));
    }
    request.session.login = user.login;
    return response.redirect('/');
  }).catch(next);
});

app.use((request, response, next) => request.session.login ? next() : response.redirect('/login'));
app.get('/', (request, response, next) => {
  Photo.findAll({order: 'id'}).then((photos) => response.send(page(`<p>${request.session.login}
<form method="post" action="/photos" enctype="multipart/form-data"><input name="title">
<input type="file" name="photo"><button>Upload</button></form>
${photos.map(({title, file}) => `<img src="/uploads/${file}" alt="${escaped(title)}">`).join('\n')}
`))).catch(next);
});
app.post('/photos', upload.single('photo'), (request, response, next) => {
  if (!request.file) return response.status(400).send(page('<p>No photo.'));
  const file = random();
  fs.copyFileSync(request.file.path, `public/uploads/${file}`, fs.constants.COPYFILE_EXCL);
  fs.unlinkSync(request.file.path);
  return Photo.create({title: request.body.title, file})
    .then(() => response.redirect(`/uploads/${file}`)).catch(next);
});

app.listen(process.env.PORT, '127.0.0.1', () => console.log(`port ${process.env.PORT}`));
