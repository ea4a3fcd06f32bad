// A cluster as grpc-js sees it: each way of a call once, against a node or the VIP that has the sample tree.
//
//   npm install --no-save @grpc/grpc-js @grpc/proto-loader
//   node bench/interop/grpc_js.js 127.0.0.1:50100

const assert = require('assert');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const address = process.argv[2];
const LEADER = '10126'; // of the sample tree
const ROOT = '10000';
const AT_ONCE = 2000;

const includeDirs = [path.join(__dirname, '..', '..', 'proto')];
const definition = loader.loadSync('fasttree/v1/report.proto', {keepCase: true, longs: Number, enums: String, includeDirs});
const {ReportService} = grpc.loadPackageDefinition(definition).fasttree.v1;

function client(options) {
  return new ReportService(address, grpc.credentials.createInsecure(), options || {});
}

// The error, or null, and the answer.
function call(of, method, request, options) {
  return new Promise((done) => of[method](request, new grpc.Metadata(), options || {}, (...ended) => done(ended)));
}

function stream(request, onData) {
  return new Promise((done) => {
    const rows = client().StreamDownline(request);
    rows.on('data', (answer) => onData(rows, answer));
    rows.on('end', () => done(grpc.status.OK));
    rows.on('error', (error) => done(error.code));
  });
}

// The health service, without its generated code.
function health(name) {
  const raw = new grpc.Client(address, grpc.credentials.createInsecure());
  const request = Buffer.concat([Buffer.from([10, name.length]), Buffer.from(name)]);
  return new Promise((done) => {
    raw.makeUnaryRequest('/grpc.health.v1.Health/Check', (b) => b, (b) => b, request, (error, answer) => done([error, answer]));
  });
}

async function main() {
  const plain = client();
  let [error, answer] = await call(plain, 'GetMember', {member_id: LEADER});
  assert.ifError(error);
  assert.equal(answer.member.member_id, LEADER);
  console.log('unary: good');

  const packed = client({'grpc.default_compression_algorithm': 2});
  [error, answer] = await call(packed, 'BatchGetMembers', {member_ids: Array(3000).fill(LEADER)});
  assert.ifError(error);
  assert.equal(answer.members.length, 3000);
  console.log('gzip, and an answer larger than a window: good');

  [error] = await call(plain, 'GetMember', {member_id: 'nobody'});
  assert.equal(error.code, grpc.status.NOT_FOUND);
  assert(error.metadata.get('grpc-status-details-bin')[0].includes('MEMBER_UNKNOWN'));
  console.log('an error with details: good');

  const later = {member_id: LEADER, options: {min_position: 1000000}};
  [error] = await call(plain, 'GetMember', later, {deadline: Date.now() + 300});
  assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  console.log('a deadline: good');

  let members = 0;
  assert.equal(await stream({member_id: ROOT}, (_, part) => { members += part.members.length; }), grpc.status.OK);
  assert(members >= 800);
  console.log('a stream: good');

  assert.equal(await stream({member_id: ROOT}, (rows) => rows.cancel()), grpc.status.CANCELLED);
  console.log('a stream that is left: good');

  [error, answer] = await health('ready');
  assert.ifError(error);
  assert.deepEqual([...answer], [8, 1]); // SERVING
  [error] = await health('nobody');
  assert.equal(error.code, grpc.status.NOT_FOUND);
  console.log('health: good');

  const all = await Promise.all(Array.from({length: AT_ONCE}, () => call(plain, 'GetMember', {member_id: LEADER})));
  assert(all.every(([failed]) => failed === null));
  console.log(`${AT_ONCE} calls at once: good`);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
