const PATHS = {
  leaf: "M12 19c-5 0-8-3.2-8-7.6C4 6.6 8 4 20 3.8 20.3 13.6 17 19 12 19Zm-6 2c1.6-4.6 4.6-8 9-10.6",
  camera: "M4 8.5A1.5 1.5 0 0 1 5.5 7H8l1.4-2h5.2L16 7h2.500A1.5 1.5 0 0 1 20 8.500v9a1.5 1.5 0 0 1-1.5 1.500h-13A1.5 1.5 0 0 1 4 17.500ZM12 16a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.400Z",
  image: "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Zm-1 12 4.5-4.5 4 4 2.5-2.5 5 5M15.5 9.500h.01",
  chat: "M5 5h14a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-7l-4.5 4V16H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1Z",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM20 20l-4.8-4.8",
  pin: "M12 21s-7-6.2-7-11.500A7 7 0 0 1 19 9.500C19 14.8 12 21 12 21Zm0-9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  user: "M12 11.500a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.5 20.500c.8-4 3.7-6 7.5-6s6.7 2 7.5 6",
  calendar: "M5 6h14a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1Zm-1 4.500h16M8 3.500v4M16 3.500v4",
  news: "M5 5h11v14H6.500A2.5 2.5 0 0 1 4 16.500V6a1 1 0 0 1 1-1Zm11 4h4v8a2 2 0 0 1-2 2M7.5 9h5M7.5 12.500h5",
  check: "m5 12.5 4.5 4.500L19 7.5",
  warn: "M12 4 2.8 20h18.400L12 4Zm0 6v4.500M12 17.300v.01",
  share: "M12 15V4m0 0L8 8m4-4 4 4M6 12H5v8h14v-8h-1",
  print: "M7 9V4h10v5M7 17H4V9h16v8h-3M7 14h10v6H7Z",
  sound: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500ZM15.5 9.500a3.5 3.5 0 0 1 0 5M18 7a7 7 0 0 1 0 10",
  stop: "M7 7h10v10H7Z",
  back: "M15 5l-7 7 7 7",
  next: "m9 5 7 7-7 7",
  recycle: "M9 5.5 12 4l3 1.5 2.3 4M17.3 9.500l-3.3.2M17.3 9.500l1.5-3M19.5 14l-2.5 5h-5M12 19l1.8-2.600M12 19l1.8 2.600M7 19l-2.8-5L6.5 9.800M6.5 9.8 3.7 10.500M6.5 9.800l1.6 2.9",
  bag: "M7 8h10l1.5 12h-13L7 8Zm2 0c0-3 1-4.5 3-4.500s3 1.5 3 4.5",
  home: "M4 11.5 12 4l8 7.500M6.5 10v10h11V10",
  phone: "M6 3.500h3l1.5 4.5-2 1.500a11 11 0 0 0 6 6l1.5-2 4.5 1.500v3a2 2 0 0 1-2.2 2C10.5 19.5 4.5 13.5 4 5.700A2 2 0 0 1 6 3.500Z",
  gift: "M4 9h16v4H4Zm1.5 4h13v7h-13ZM12 9v11M12 9C9 9 7 7.8 7 6.2 7 4 10.8 3.7 12 9c1.2-5.3 5-5 5-2.800C17 7.8 15 9 12 9Z",
  send: "M4 12 20 4l-5.5 16-3-6.500L4 12Z",
  trash: "M5 7h14M9.5 7V4.500h5V7M7 7l1 13h8l1-13",
  target: "M12 18.500a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM12 3v2.500M12 18.500V21M3 12h2.500M18.500 12H21M12 13.500a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3Z",
  way: "M12 3.500 20.500 12 12 20.500 3.500 12ZM9.500 14v-3h5M12.500 9l2 2-2 2",
  bell: "M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 2h-15ZM10 21h4",
  globe: "M12 20.500a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17ZM3.5 12h17M12 3.500c5 5 5 12 0 17-5-5-5-12 0-17Z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The sign of a kind of stream. */
export const KIND_ICON: Record<string, IconName> = { recycle: "recycle", return: "gift", dropoff: "pin", bag: "bag", booking: "phone", reuse: "gift" };
