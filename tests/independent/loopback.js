// Has a server of Node listen on a free port of the loopback interface alone, whatever it asks for, print the port that
// it asked for and the address that it got, and survive its clients: `node --require ./loopback.js server.js`.
'use strict';

const net = require('node:net');

const { listen } = net.Server.prototype;

net.Server.prototype.listen = function loopback(asked, ...others) {
  const port = typeof asked === 'object' ? asked.port : asked;
  this.once('listening', () => console.log(`${port} http://127.0.0.1:${this.address().port}`));
  return listen.call(this, { host: '127.0.0.1', port: 0 }, others.find((one) => typeof one === 'function'));
};

// A client that is killed resets its connections, which ends dynalite.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') {
    console.error(error);
    process.exit(1);
  }
});
