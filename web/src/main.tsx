import { render } from "preact";
import { ErrorBoundary, LocationProvider, lazy, Route, Router } from "preact-iso";
import { fresh } from "./fresh";
import { lang, t } from "./i18n";
import { Main, Shell } from "./ui/layout";
import { Home } from "./pages/home";
import { Rule, Rules } from "./pages/rules";

const Guide = lazy(fresh(() => import("./pages/guide").then((page) => page.Guide)));
const Ask = lazy(fresh(() => import("./pages/ask").then((page) => page.Ask)));
const Nearby = lazy(fresh(() => import("./pages/map").then((page) => page.Nearby)));
const News = lazy(fresh(() => import("./pages/news").then((page) => page.News)));
const Days = lazy(fresh(() => import("./pages/calendar").then((page) => page.Days)));
const Me = lazy(fresh(() => import("./pages/me").then((page) => page.Me)));
const About = lazy(fresh(() => import("./pages/about").then((page) => page.About)));
const Steward = lazy(fresh(() => import("./pages/steward").then((page) => page.Steward)));
const Sources = lazy(fresh(() => import("./pages/about").then((page) => page.Sources)));

function Missing() {
  return (
    <Main title={t("missing.title")} lead={t("missing.lead")}>
      <p><a class="button primary" href="/">{t("home")}</a></p>
    </Main>
  );
}

// A sign-in ends at `/#/home`, or at `/#/login?error=…` where it failed: addresses that other apps of this API have too.
const ended = location.hash.match(/^#\/(home|login)/);
if (ended) history.replaceState(null, "", ended[1] === "home" ? "/me?signed=in" : "/me?signed=failed");

function App() {
  return (
    <LocationProvider>
      <Shell>
        <ErrorBoundary>
          <Router>
            <Route path="/" component={Home} />
            <Route path="/guide/:id" component={Guide} />
            <Route path="/rules" component={Rules} />
            <Route path="/en/rules" component={Rules} />
            <Route path="/rules/:item" component={Rule} />
            <Route path="/en/rules/:item" component={Rule} />
            <Route path="/ask" component={Ask} />
            <Route path="/map" component={Nearby} />
            <Route path="/news" component={News} />
            <Route path="/calendar" component={Days} />
            <Route path="/me" component={Me} />
            <Route path="/steward" component={Steward} />
            <Route path="/about" component={About} />
            <Route path="/about/sources" component={Sources} />
            <Route default component={Missing} />
          </Router>
        </ErrorBoundary>
      </Shell>
    </LocationProvider>
  );
}

const place = document.getElementById("app")!;
place.replaceChildren();
render(<App />, place);
if ("serviceWorker" in navigator && import.meta.env.PROD) addEventListener("load", () => void install());

/** The service worker, and with time to spare its copy of all rules. */
async function install(): Promise<void> {
  await navigator.serviceWorker.register("/sw.js");
  const { active } = await navigator.serviceWorker.ready;
  const saving = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData;
  if (!saving) setTimeout(() => active?.postMessage({ keep: lang.value === "en" ? "/en/rules/all" : "/rules/all" }), 3000);
}
