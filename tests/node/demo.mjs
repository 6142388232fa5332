// `dev`, as somebody starts it, to be stopped and started again.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setting } from './support.mjs';

/** A demo in a folder of its own, not started yet. It ends with the test, however that ends, and leaves nothing. */
export async function demo(t) {
  const folder = await mkdtemp(join(tmpdir(), 'directmessages-demo-'));
  const port = await freePort();
  let running;
  const stop = async () => {
    const ending = running;
    running = undefined;
    ending?.stdin.end();
    await ending?.ended;
  };
  t.after(async () => {
    await stop();
    await rm(folder, { recursive: true });
  });
  return {
    origin: `http://127.0.0.1:${port}`,
    stop,
    /** Starts it, and returns what it prints once it is ready. */
    async start() {
      // The shell ends the program when its own standard input closes, which it does with this process.
      const script = 'exec 3<&0; "$@" </dev/null & child=$!; cat <&3 >/dev/null; kill $child; wait $child';
      const arguments_ = ['-c', script, 'sh', setting('PROGRAM'), 'dev', '--port', `${port}`, '--folder', folder];
      running = spawn('sh', arguments_, { env: { PATH: process.env.PATH }, stdio: ['pipe', 'pipe', 'ignore'] });
      running.ended = new Promise((done) => running.once('exit', done));
      let printed = '';
      for await (const part of running.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
        printed += part;
        if (printed.includes('Stop with Ctrl-C')) return printed;
      }
      throw new Error(`the demo ended before it was ready: ${printed}`);
    },
    /** Runs another command of the program on the demo's database. */
    run(command) {
      const { status, stderr } = spawnSync(setting('PROGRAM'), [command, '--database-url', `sqlite:${join(folder, 'demo.db')}`], {
        env: { PATH: process.env.PATH },
      });
      if (status !== 0) throw new Error(`${command} failed: ${stderr}`);
    },
  };
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
