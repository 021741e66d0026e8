import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { lang, t, type Text } from "../i18n";
import { past } from "../history";
import { keptReminder } from "../reminder";
import { photo, problem, resend, reset, sending, submit } from "../scan";
import { api, authed } from "../api";
import { role } from "../session";
import { Icon } from "../ui/icons";
import { Main } from "../ui/layout";
import { ProblemCard } from "../ui/problem";
import { Stages } from "../ui/stages";
import sample from "../../../data/demo/coffee.jpg";

const OFTEN: [string, string, string][] = [
  ["milk_carton", "우유팩", "Milk carton"],
  ["water_pet", "생수병", "Water bottle"],
  ["alkaline", "건전지", "Battery"],
  ["pizza_box", "피자 상자", "Pizza box"],
  ["styrofoam_box", "스티로폼", "Styrofoam"],
];

export function Home() {
  const { route } = useLocation();
  const camera = useRef<HTMLInputElement>(null);
  const album = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);

  const go = async (job: Promise<string | null>) => {
    const id = await job;
    if (id) route(`/guide/${id}`);
  };
  const take = (file: Blob | null | undefined) => file && void go(submit(file));
  useFiles(take, setOver);
  useEffect(() => reset, []);

  const again = problem.value && problem.value.kind !== "photo" ? () => void go(resend()) : undefined;
  return (
    <Main title={t("home.title")} lead={sending.value ? undefined : t("home.lead")}>
      {sending.value ? (
        <section class="card live">
          {photo.value && <img class="shot" src={photo.value.url} alt={t("guide.photo")} />}
          <Stages at={sending.value} />
          <button type="button" class="quiet" onClick={reset}>{t("scan.cancel")}</button>
        </section>
      ) : (
        <section class={over ? "hero over" : "hero"} aria-label={t("nav.scan")}>
          {problem.value && <ProblemCard problem={problem.value} again={again} />}
          <button type="button" class="primary big" onClick={() => camera.current?.click()}>
            <Icon name="camera" /> {t("home.camera")}
          </button>
          <button type="button" class="secondary" onClick={() => album.current?.click()}>
            <Icon name="image" /> {t("home.file")}
          </button>
          <button type="button" class="quiet" onClick={async () => take(await (await fetch(sample)).blob())}>
            {t("home.sample")}
          </button>
          <p class="hint desktop">{over ? t("home.dropnow") : t("home.drop")}</p>
          <p class="hint">{t("home.private")}</p>
          <input ref={camera} hidden type="file" accept="image/*" capture="environment" onChange={(e) => taken(e, take)} />
          <input ref={album} hidden type="file" accept="image/*,.heic,.heif" onChange={(e) => taken(e, take)} />
        </section>
      )}
      {!sending.value && <ReminderEnded />}
      {!sending.value && <Rest />}
    </Main>
  );
}

/** What a browser was reminded of must not end in silence: whoever comes back is told. */
function ReminderEnded() {
  const [ended, setEnded] = useState(false);
  useEffect(() => {
    if (role.value !== "citizen") return;
    void (async () => {
      const kept = await keptReminder();
      if (!kept) return;
      const { items } = await authed(() => api.GET("/api/v1/users/me/reminders"));
      setEnded(items.find((one) => one.id === kept.id)?.stopped !== null);
    })().catch(() => undefined);
  }, []);
  if (!ended) return null;
  return (
    <section class="card warning" role="status">
      <p><b>{t("remind.ended")}</b></p>
      <p><a class="button secondary" href="/calendar"><Icon name="bell" /> {t("remind.ended.go")}</a></p>
    </section>
  );
}

function Rest() {
  const base = lang.value === "en" ? "/en/rules" : "/rules";
  return (
    <>
      <form class="search" role="search" action={base} method="get">
        <label for="name">{t("home.byname")}</label>
        <div class="field">
          <input id="name" name="q" type="search" placeholder={t("home.byname.hint")} autocomplete="off" enterkeyhint="search" />
          <button type="submit" class="secondary" aria-label={t("home.byname")}><Icon name="search" /></button>
        </div>
      </form>
      <ul class="chips" aria-label={t("home.often")}>
        {OFTEN.map(([id, ko, en]) => (
          <li key={id}><a href={`${base}/${id}`}>{lang.value === "en" ? en : ko}</a></li>
        ))}
      </ul>
      {past.value.length > 0 && (
        <section>
          <h2>{t("home.recent")}</h2>
          <ul class="rows">
            {past.value.slice(0, 5).map((one) => (
              <li key={one.id}>
                <a href={`/guide/${one.id}`}>
                  {one.thumb ? <img src={one.thumb} alt="" width="44" height="44" /> : <span class="thumb"><Icon name="leaf" /></span>}
                  <span><b>{one.name}</b><small>{one.stream}</small></span>
                  <Icon name="next" />
                </a>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section>
        <h2>{t("home.also")}</h2>
        <ul class="rows">
          {(["calendar", "map", "news"] as const).map((name) => (
            <li key={name}>
              <a href={`/${name}`}>
                <span class="thumb"><Icon name={name === "map" ? "pin" : name} /></span>
                <span><b>{t(`home.also.${name}` as Text)}</b></span>
                <Icon name="next" />
              </a>
            </li>
          ))}
        </ul>
      </section>
      <p class="foot"><a href="/about">{t("nav.about")}</a></p>
    </>
  );
}

function taken(event: { currentTarget: HTMLInputElement }, take: (file?: Blob) => void): void {
  take(event.currentTarget.files?.[0]);
  event.currentTarget.value = "";
}

/** A photo that is pasted, or dropped anywhere on the page. */
function useFiles(take: (file?: Blob) => void, setOver: (is: boolean) => void): void {
  useEffect(() => {
    const image = (data: DataTransfer | null) => [...(data?.files ?? [])].find((file) => file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name));
    const paste = (event: ClipboardEvent) => take(image(event.clipboardData));
    const drag = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      take(image(event.dataTransfer) ?? event.dataTransfer?.files[0]);
    };
    document.addEventListener("paste", paste);
    document.addEventListener("dragover", drag);
    document.addEventListener("dragleave", leave);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("paste", paste);
      document.removeEventListener("dragover", drag);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    };
  }, []);
}
