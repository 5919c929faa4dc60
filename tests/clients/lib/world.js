// The small world that the real clients live in: two teams that must not meet, and a third one that
// is suspended. Passwords are random in every run.

import { randomBytes } from 'node:crypto';

const secret = (prefix) => prefix + randomBytes(32).toString('base64url');

export const TEAM_A = 'aTeam00001';
export const TEAM_B = 'bTeam00002';
export const TEAM_SUSPENDED = 'sTeam00003';

const instance = (team, id) => ({
  team, id, username: `project:${team}:${id}`, password: secret('ffbp_'),
});
const device = (team, id, owner) => ({
  team, id, owner, username: `device:${team}:${id}`, password: secret('ffbd_'),
});
/** A client of a team's own broker; its client id must be its username. */
const client = (team, name, acl = [{ action: 'both', effect: 'allow', pattern: '#' }]) => ({
  team, name, acl, username: `${name}@${team}`, clientId: `${name}@${team}`, password: secret(''),
});

/** A fresh world. */
export function makeWorld() {
  return {
    teams: [
      { id: TEAM_A, name: 'Team A' },
      { id: TEAM_B, name: 'Team B' },
      { id: TEAM_SUSPENDED, name: 'Suspended' },
    ],
    a1: instance(TEAM_A, '11111111-1111-4111-8111-111111111111'),
    a2: instance(TEAM_A, '22222222-2222-4222-8222-222222222222'),
    b1: instance(TEAM_B, '33333333-3333-4333-8333-333333333333'),
    deviceA: device(TEAM_A, 'devA000001', { type: 'application', id: 'appA000001' }),
    platform: { username: 'forge_platform', password: secret('ffbpl_') },
    alice: client(TEAM_A, 'alice'),
    adam: client(TEAM_A, 'adam'),
    // May read `shared/#` without `shared/secret/#`, and write to `desk/anja` alone.
    anja: client(TEAM_A, 'anja', [
      { action: 'subscribe', effect: 'allow', pattern: 'shared/#' },
      { action: 'subscribe', effect: 'deny', pattern: 'shared/secret/#' },
      { action: 'publish', effect: 'allow', pattern: 'desk/anja' },
    ]),
    bob: client(TEAM_B, 'bob'),
    sam: client(TEAM_SUSPENDED, 'sam'),
  };
}

/** The world as the file that `cofferdam apply` reads. */
export function provisioning(world) {
  const text = (value) => JSON.stringify(value); // a JSON string is a TOML basic string
  const table = (fields) =>
    `{ ${Object.entries(fields).map(([key, value]) => `${key} = ${text(value)}`).join(', ')} }`;
  const members = Object.values(world).filter((entry) => entry.username);
  const lines = [];
  for (const team of world.teams) {
    lines.push('[[team]]', `id = ${text(team.id)}`, `name = ${text(team.name)}`, '');
  }
  for (const member of members) {
    if (member === world.platform) {
      lines.push('[platform]');
    } else if (member.acl) {
      lines.push('[[client]]', `name = ${text(member.name)}`, `team = ${text(member.team)}`);
      lines.push(`acl = [${member.acl.map(table).join(', ')}]`);
    } else {
      lines.push(member.owner ? '[[device]]' : '[[instance]]');
      lines.push(`id = ${text(member.id)}`, `team = ${text(member.team)}`);
      if (member.owner) lines.push(`owner = ${table(member.owner)}`);
    }
    lines.push(`password = ${text(member.password)}`, '');
  }
  return lines.join('\n');
}
