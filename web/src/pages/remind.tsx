import { useEffect, useState } from "preact/hooks";
import { api, authed, type Schemas } from "../api";
import { lang, named, t } from "../i18n";
import { canBeTold, idOf, keyOf, subscribe, subscribed } from "../push";
import { keepReminder, keptReminder, wishOf } from "../reminder";
import { described, type Problem } from "../scan";
import { ApiError, role } from "../session";
import { Icon } from "../ui/icons";
import { ProblemCard } from "../ui/problem";

type Calendar = Schemas["CollectionCalendar"];
type Collection = Schemas["ReminderWish"]["collections"] extends (infer One)[] | undefined ? One : never;
type Reminder = Schemas["ReminderOut"];
const SAYS: Record<string, "remind.unknown" | "remind.many"> = { PUSH_SERVICE_UNKNOWN: "remind.unknown", TOO_MANY_REMINDERS: "remind.many" };

/** Asks for nothing before it is tapped: neither for a session nor for the permission. */
export function Remind({ calendar }: { calendar: Calendar }) {
  const can = canBeTold();
  const [key, setKey] = useState<string | null>(null);
  const [mine, setMine] = useState<Reminder | null>(null);
  /** The push service ended the subscription, and the server forgot it. */
  const [lost, setLost] = useState(false);
  const [area, setArea] = useState(calendar.areas[0]?.area ?? "");
  const [left, setLeft] = useState<readonly string[]>([]);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const signedIn = role.value === "citizen";
  useEffect(() => {
    if (!signedIn || can !== "yes") return;
    Promise.all([authed(() => api.GET("/api/v1/users/me/reminders")), subscribed()])
      .then(async ([found, subscription]) => {
        setKey(found.public_key);
        const id = subscription && (await idOf(subscription));
        const known = found.items.find((one) => one.id === id) ?? null;
        setMine(known);
        setLost(!known && !!(await keptReminder()));
        // Our key is another one now. Who agreed once is not asked again.
        if (known && found.public_key && keyOf(subscription!) !== found.public_key) await tell(found.public_key, known, known.id);
        if (known && known.district === calendar.district) {
          setArea(known.area);
          if (known.collections.length) setLeft(offered(calendar, known.area).map(([name]) => name).filter((name) => !known.collections.includes(name)));
        }
      })
      .catch((error: unknown) => setProblem(described(error)));
  }, [signedIn]);
  const attempt = (work: () => Promise<void>) => {
    setBusy(true);
    setSaid("");
    setProblem(null);
    work()
      .catch((error: unknown) => {
        if (error instanceof ApiError && SAYS[error.code]) setSaid(t(SAYS[error.code]!));
        else if (error instanceof DOMException) setSaid(t(error.name === "NotAllowedError" ? "remind.denied" : "remind.failed"));
        else setProblem(described(error));
      })
      .finally(() => setBusy(false));
  };
  /** Subscribes with the key and tells the server; the reminder of a subscription that this one replaces goes. */
  const tell = async (public_key: string, { district, area, collections, lang }: Pick<Reminder, "district" | "area" | "collections" | "lang">, former?: string) => {
    const wish = { public_key, district, area, collections: collections as Collection[], lang: lang as "ko" | "en" };
    const body = wishOf(await subscribe(public_key), wish);
    const made = await authed(() => api.PUT("/api/v1/users/me/reminders", { body }));
    await keepReminder({ ...wish, id: made.id });
    if (former && former !== made.id) await remove(former);
    setMine(made);
    setLost(false);
  };
  const remove = (reminder_id: string) =>
    authed(() => api.DELETE("/api/v1/users/me/reminders/{reminder_id}", { params: { path: { reminder_id } } })).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    });
  const on = () =>
    attempt(async () => {
      if ((await Notification.requestPermission()) !== "granted") return setSaid(t("remind.denied"));
      const names = offered(calendar, area).map(([name]) => name);
      const wanted = names.filter((name) => !left.includes(name));
      await tell(key!, { district: calendar.district, area, collections: wanted.length === names.length ? [] : wanted, lang: lang.value }, mine?.id);
    });
  const off = () =>
    attempt(async () => {
      await remove(mine!.id);
      await (await subscribed())?.unsubscribe();
      await keepReminder(null);
      setMine(null);
    });
  if (!offered(calendar, area).length) return null;
  if (can !== "yes") return <Card><p class="hint">{t(can === "install" ? "remind.install" : "remind.unsupported")}</p></Card>;
  if (!signedIn) return <Card><p><a class="button secondary" href="/me"><Icon name="user" /> {t("remind.signin")}</a></p></Card>;
  if (problem && !key) return <ProblemCard problem={problem} />;
  if (!key) return null;
  const names = [...new Set(calendar.areas.map((one) => one.area))];
  const chosen = offered(calendar, area).filter(([name]) => !left.includes(name));
  return (
    <Card>
      {mine && !mine.stopped && <p role="status"><b>{t("remind.is", placeOf(mine))}</b></p>}
      {mine?.stopped && <p role="alert"><b>{t("remind.stopped", placeOf(mine))}</b> {t(`remind.stopped.${mine.stopped}`)}</p>}
      {lost && <p role="alert">{t("remind.lost")}</p>}
      {names.length > 1 && (
        <label class="pick">{t("remind.area")} <select value={area} onChange={(event) => { setArea(event.currentTarget.value); setLeft([]); }}>
          {names.map((name) => <option key={name} value={name}>{name}</option>)}
        </select></label>
      )}
      <fieldset>
        <legend>{t("remind.what")}</legend>
        {offered(calendar, area).map(([name, label]) => (
          <label key={name}><input type="checkbox" checked={!left.includes(name)} onChange={(event) => setLeft(event.currentTarget.checked ? left.filter((one) => one !== name) : [...left, name])} /> {label}</label>
        ))}
      </fieldset>
      <p class="actions">
        <button type="button" class="secondary" disabled={busy || !chosen.length} onClick={on}><Icon name="bell" /> {t(mine && !mine.stopped ? "remind.change" : "remind.on")}</button>
        {mine && <button type="button" class="secondary" disabled={busy} onClick={off}>{t("remind.off")}</button>}
      </p>
      {said && <p role="alert">{said}</p>}
      {problem && <ProblemCard problem={problem} />}
    </Card>
  );
}

const placeOf = (one: Reminder) => [one.district, one.area].filter(Boolean).join(" ");

function Card({ children }: { children: preact.ComponentChildren }) {
  return (
    <section class="card remind">
      <h3>{t("remind.title")}</h3>
      <p>{t("remind.lead")}</p>
      {children}
    </section>
  );
}

/** What an area puts out on a day: its name and what it is called. */
function offered(calendar: Calendar, area: string): (readonly [string, string])[] {
  const found = new Map(calendar.areas.filter((one) => one.area === area).flatMap((one) => one.pickups.filter((pickup) => pickup.days.length).map((pickup) => [pickup.collection as string, named("days.what", pickup.collection) || pickup.name] as const)));
  return [...found];
}
