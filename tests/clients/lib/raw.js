// A client that says exactly the bytes it is told to, also those that no decent client would say.

import net from 'node:net';
import tls from 'node:tls';
import mqttPacket from 'mqtt-packet';
import { Inbox, within } from './deadline.js';

/** The bytes of one packet, as mqtt-packet describes it; `version` is 4 (3.1.1) or 5. */
export function bytes(packet, version = 5) {
  return mqttPacket.generate(packet, { protocolVersion: version });
}

/** The bytes of a CONNECT of this user. */
export function connectBytes(user, { version = 5, ...fields } = {}) {
  return bytes({
    cmd: 'connect', protocolId: 'MQTT', protocolVersion: version, clean: true, keepalive: 60,
    clientId: user.clientId ?? user.username, username: user.username, password: user.password, ...fields,
  }, version);
}

let connections = 0;

/**
 * An address of the loopback network that nothing else of this process has connected from. Tests find what
 * they did by its address in the audit, and ports are used again before a file is through.
 */
export function ownAddress() {
  connections += 1;
  return `127.1.${connections >> 8}.${connections & 255}`;
}

/** Where a socket comes from, as the audit writes it. */
export const addressOf = ({ localAddress, localPort }) => `${localAddress}:${localPort}`;

/** Opens a connection without saying anything. `transport`: `tcp` or `tls`. */
export async function dial(broker, transport = 'tcp', version = 5) {
  const options = { host: 'localhost', port: broker.ports[transport], family: 4, localAddress: ownAddress() };
  const socket = transport === 'tls' ? tls.connect({ ...options, ca: broker.ca }) : net.connect(options);
  await within(new Promise((resolve, reject) => {
    socket.once(transport === 'tls' ? 'secureConnect' : 'connect', resolve).once('error', reject);
  }), `${transport} connection`);
  return new RawClient(socket, version);
}

/** Opens a connection and logs in. */
export async function login(broker, user, { transport = 'tcp', version = 5, ...fields } = {}) {
  const client = await dial(broker, transport, version);
  client.send(connectBytes(user, { version, ...fields }));
  const connack = await client.packet('connack');
  if ((connack.reasonCode ?? connack.returnCode) !== 0) throw new Error(`login refused: ${JSON.stringify(connack)}`);
  return client;
}

class RawClient {
  #socket;
  #packets = new Inbox();
  #closed;

  constructor(socket, version) {
    this.#socket = socket;
    /** Its own address, as the broker sees it; a closed socket would know it no more. */
    this.address = addressOf(socket);
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on('packet', (packet) => this.#packets.put(packet));
    socket.on('data', (data) => parser.parse(data));
    socket.on('error', () => {}); // a reset is a way to close
    this.#closed = new Promise((resolve) => { socket.once('close', () => resolve(true)); });
  }

  send(data) {
    this.#socket.write(data);
  }

  /** The next packet of this kind, as mqtt-packet describes it. */
  packet(cmd) {
    return this.#packets.take(cmd, (packet) => packet.cmd === cmd);
  }

  /** Waits until the broker closes; gives the packets that came before it did. */
  async closed() {
    await within(this.#closed, 'end of the connection');
    return this.#packets.rest();
  }

  /** Proves that the connection still works: a ping and its answer. */
  async alive() {
    this.send(bytes({ cmd: 'pingreq' }));
    await this.packet('pingresp');
    return true;
  }

  destroy() {
    this.#socket.destroy();
  }
}
