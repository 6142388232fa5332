// The demo's page, as its tests look at it.
import { browser, until, visit } from './browser.mjs';
import { setting, someone } from './support.mjs';

export const slow = { timeout: 120_000 };
export const numbered = (word, from, to) => Array.from({ length: to - from + 1 }, (_, index) => `${word} ${from + index}`);
const link = (...people) => `${setting('SERVER_URL')}/#${people.map(({ token }) => `token=${token}`).join('&')}`;

/** The page, with these people signed in. `prepare` is called with it before it asks anything. */
export async function enter(launched, people, { prepare, ...options } = {}) {
  const seen = await visit(launched, setting('SERVER_URL'), options);
  await prepare?.(seen.page);
  await seen.page.goto(link(...people));
  return { ...seen, panes: people.map(({ username }) => new Pane(seen.page, username)) };
}

/** Two people who know each other, each in a browser of their own, with their conversation open; Ben's can be prepared. */
export async function pair(t, options) {
  const [ann, ben] = [await someone('Ann'), await someone('Ben')];
  await ann.send(ben, 'first');
  const launched = await browser(t);
  const [hers, his] = [await enter(launched, [ann]), await enter(launched, [ben], options)];
  await hers.panes[0].open('Ben');
  await his.panes[0].open('Ann');
  return { launched, ann, ben, hers, his, annSees: hers.panes[0], benSees: his.panes[0] };
}

/** One user's part of the page. */
export class Pane {
  constructor(page, name) {
    this.page = page;
    this.root = page.getByRole('region', { name, exact: true });
  }

  partner(name) {
    return this.root.getByRole('navigation').getByRole('button', { name: new RegExp(`^\\W*${name}`) });
  }

  async open(name) {
    await this.partner(name).click();
    await this.root.getByRole('textbox', { name: `Message to ${name}` }).waitFor();
  }

  get messages() {
    return this.root.getByRole('region', { name: /^Messages with/ });
  }

  get online() {
    return this.root.getByRole('switch');
  }

  get box() {
    return this.root.getByRole('textbox', { name: /^Message to/ });
  }

  async write(...texts) {
    for (const text of texts) {
      await this.box.fill(text);
      await this.box.press('Enter');
    }
  }

  texts() {
    return this.root.locator('.message > p:first-of-type').allInnerTexts();
  }

  /** The names in the list, each with its unread count where it has one. */
  list() {
    // All at one moment: a badge may go as soon as it was seen.
    return this.root.getByRole('navigation').getByRole('listitem').evaluateAll((partners) =>
      partners.map((partner) => {
        const [name, badge] = [partner.querySelector('.name'), partner.querySelector('.badge')];
        return badge ? `${name.innerText}: ${badge.innerText}` : name.innerText;
      }),
    );
  }

  async shows(...texts) {
    await until(`${JSON.stringify(texts)} is what is shown last`, async () => {
      const shown = (await this.texts()).slice(-texts.length);
      return JSON.stringify(shown) === JSON.stringify(texts) || shown;
    });
  }

  async lists(...names) {
    await until(`the list is ${JSON.stringify(names)}`, async () => {
      const listed = (await this.list()).map((line) => line.replace(/\s+/g, ' '));
      return JSON.stringify(listed) === JSON.stringify(names) || listed;
    });
  }

  /** Until the server has all that was written. */
  async hasSent() {
    await until('all is sent', async () => !(await this.ticks()).includes('Not sent yet'));
  }

  /** How far each of one's own messages has come, as assistive technology is told. */
  ticks() {
    return this.root.locator('.tick').allInnerTexts();
  }
}
